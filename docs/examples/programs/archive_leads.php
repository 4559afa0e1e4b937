<?php
// Archives leads: php archive_leads.php FILE, or php archive_leads.php --where '{"statuses": ["DNC"]}'. PHP 8.1 or later, with curl.
//
// FILE holds one lead id a line. LEAD_ARCHIVE_URL and LEAD_ARCHIVE_KEY say where, and with which key. Prints the leads that
// stayed, each with the reason. Exit status: 0 done, 1 the service or the network fails, 2 refused, 3 within office hours.
declare(strict_types=1);

const FLAGS = ['insert_leads' => true, 'update_leads' => true, 'delete_leads' => true];
const TRY_AGAIN = [408, 429, 500, 502, 503, 504];
const ATTEMPTS = 8;

function stop(int $status, string $message): never
{
    fwrite(STDERR, "$message\n");
    exit($status);
}

if ($argc < 2 || !getenv('LEAD_ARCHIVE_URL') || !getenv('LEAD_ARCHIVE_KEY')) {
    stop(2, 'usage: LEAD_ARCHIVE_URL=URL LEAD_ARCHIVE_KEY=KEY archive_leads.php FILE, or archive_leads.php --where CONDITIONS');
}

/** Returns the status and the answer, after as many attempts as it takes: to repeat a request is always safe. */
function call(string $path, ?array $body = null): array
{
    for ($attempt = 0; $attempt < ATTEMPTS; $attempt++) {
        $retryAfter = 0;
        $curl = curl_init(rtrim(getenv('LEAD_ARCHIVE_URL'), '/') . $path);
        curl_setopt_array($curl, [
            CURLOPT_RETURNTRANSFER => true,
            CURLOPT_TIMEOUT => 60,
            CURLOPT_HTTPHEADER => ['Authorization: Key=' . getenv('LEAD_ARCHIVE_KEY'), 'Content-Type: application/json'],
            CURLOPT_HEADERFUNCTION => function ($curl, string $header) use (&$retryAfter): int {
                if (preg_match('/^retry-after: *(\d+)/i', $header, $found)) {
                    $retryAfter = (int) $found[1];
                }
                return strlen($header);
            },
        ]);
        if ($body !== null) {
            curl_setopt($curl, CURLOPT_POSTFIELDS, json_encode($body, JSON_THROW_ON_ERROR));
        }
        $answer = curl_exec($curl);
        $status = curl_getinfo($curl, CURLINFO_RESPONSE_CODE);
        $said = json_decode((string) $answer, true);
        if (is_array($said) && !in_array($status, TRY_AGAIN, true)) { // an answer of a proxy's own is no JSON: try again
            if ($status === 403) { // office hours may last for hours: nobody should wait that long with a program open
                stop(3, "{$said['message']}; start again in $retryAfter seconds");
            }
            return [$status, $said];
        }
        $wait = max($retryAfter, min(60, 2 ** $attempt) * random_int(50, 100) / 100);
        $reason = $answer === false ? curl_error($curl) : $answer;
        if ($attempt + 1 === ATTEMPTS) {
            stop(1, "$path: $reason; " . ATTEMPTS . ' attempts failed');
        }
        fprintf(STDERR, "%s: %s; attempt %d in %.0f seconds\n", $path, $reason, $attempt + 2, $wait);
        usleep((int) ($wait * 1_000_000));
    }
    throw new LogicException();
}

function batches_from_file(string $name, int $limit): array
{
    $lines = file($name, FILE_IGNORE_NEW_LINES | FILE_SKIP_EMPTY_LINES) ?: stop(2, "$name: no lead ids");
    $lines = array_filter(array_map('trim', $lines), 'strlen');
    foreach ($lines as $line) { // intval would take 2024-01-01 for the lead 2024
        ctype_digit($line) || stop(2, "$name: $line is no lead id");
    }
    return array_chunk(array_values(array_unique(array_map('intval', $lines))), $limit); // without duplicates
}

function batches_found(array $where, int $limit): Generator
{
    $page = ['where' => $where, 'limit' => $limit];
    do {
        [$status, $answer] = call('/vicidial/leads/find', $page);
        if ($status !== 200) {
            stop(2, $answer['message']);
        }
        if ($answer['lead_ids']) { // a page may be empty before the last one
            yield $answer['lead_ids'];
        }
        $page['after_lead_id'] = $answer['next_after_lead_id'];
    } while (!$answer['done']);
}

$where = $argv[1] === '--where' ? json_decode($argv[2], true, flags: JSON_THROW_ON_ERROR) : null;
$limit = call('/openapi.json')[1]['components']['schemas']['LeadIDs']['maxItems'];
$deleted = 0;
foreach ($where ? batches_found($where, $limit) : batches_from_file($argv[1], $limit) as $batch) {
    while ($batch) {
        $body = FLAGS + ['lead_ids' => $batch] + ($where ? ['where' => $where] : []);
        [$status, $answer] = call('/vicidial/leads/archive', $body);
        if ($status === 200) {
            $deleted += $answer['delete_count'];
            foreach ($answer['remaining_lead_ids'] as $id) {
                echo "$id stayed\n";
            }
            break;
        }
        $refused = array_intersect($batch, $answer['lead_ids'] ?? []);
        if (!$refused) { // the same request would be refused for ever
            stop(2, $answer['message']);
        }
        foreach ($refused as $id) {
            echo "$id {$answer['message']}\n";
        }
        $batch = array_values(array_diff($batch, $refused)); // array_values: JSON would make an object of a list with gaps
    }
}
fwrite(STDERR, "$deleted leads left vicidial_list\n");
