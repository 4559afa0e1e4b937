<?php
// Sends the calls in a file with the generated client, and prints for each its status, what is in the answer, and the message.
declare(strict_types=1);

use GuzzleHttp\Client;
use OpenAPI\Client\Api\LeadsApi;
use OpenAPI\Client\ApiException;
use OpenAPI\Client\Configuration;
use OpenAPI\Client\Model\ArchiveRequest;
use OpenAPI\Client\Model\LeadError;

require 'GuzzleHttp/autoload.php';
spl_autoload_register(function (string $class): void {
    $file = __DIR__ . '/lib/' . strtr(substr($class, strlen('OpenAPI\\Client\\')), '\\', '/') . '.php';
    if (str_starts_with($class, 'OpenAPI\\Client\\') && is_file($file)) {
        require $file;
    }
});

foreach (json_decode(file_get_contents($argv[1]), true, flags: JSON_THROW_ON_ERROR) as $call) {
    $configuration = (new Configuration())->setHost($call['url']);
    $api = new LeadsApi(new Client(['headers' => $call['headers']]), $configuration);
    $batch = new ArchiveRequest(
        ['insert_leads' => true, 'update_leads' => true, 'delete_leads' => true, 'lead_ids' => $call['lead_ids']]
    );
    try {
        [$result, $status] = $api->archiveLeadsWithHttpInfo($batch);
        $said = [$status, $result->getRemainingLeadIds(), $result->getMessage()];
    } catch (ApiException $error) {
        $model = $error->getResponseObject();
        $said = [$error->getCode(), $model instanceof LeadError ? $model->getLeadIds() : null, $model->getMessage()];
    }
    echo json_encode($said, JSON_THROW_ON_ERROR | JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE), "\n";
}
