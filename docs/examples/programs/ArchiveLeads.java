// Archives leads: java ArchiveLeads.java FILE, or java ArchiveLeads.java --where '{"statuses": ["DNC"]}'. Java 17 or later.
//
// FILE holds one lead id a line. LEAD_ARCHIVE_URL and LEAD_ARCHIVE_KEY say where, and with which key. Prints the leads that
// stayed, each with the reason. Exit status: 0 done, 1 the service or the network fails, 2 refused, 3 within office hours.
//
// The JDK has no JSON. The few fields that this program needs have fixed names and simple values, so it reads them with patterns;
// a larger program uses a library such as Jackson.
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

public class ArchiveLeads {
    static final Set<Integer> TRY_AGAIN = Set.of(408, 429, 500, 502, 503, 504);
    static final int ATTEMPTS = 8;
    static final HttpClient CLIENT = HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(10)).build();
    static String where = "";
    static long deleted = 0;

    record Answer(int status, String text) {
        /** The number in a field. */
        long number(String field) {
            Matcher found = Pattern.compile("\"" + field + "\":\\s*(\\d+)").matcher(text);
            if (!found.find()) throw new IllegalStateException(field + " is missing: " + text);
            return Long.parseLong(found.group(1));
        }

        /** The integers in a field, which is an array; none if there is no such field. */
        List<Long> numbers(String field) {
            Matcher found = Pattern.compile("\"" + field + "\":\\s*\\[([\\d,\\s]*)\\]").matcher(text);
            if (!found.find() || found.group(1).isBlank()) return List.of();
            return Pattern.compile(",").splitAsStream(found.group(1)).map(id -> Long.parseLong(id.trim())).toList();
        }

        String message() {
            Matcher found = Pattern.compile("\"message\":\\s*\"((?:[^\"\\\\]|\\\\.)*)\"").matcher(text);
            return found.find() ? found.group(1) : text;
        }
    }

    static void stop(int status, String message) {
        System.err.println(message);
        System.exit(status);
    }

    /** Returns the answer, after as many attempts as it takes: to repeat a request is always safe. */
    static Answer call(String path, String body) throws InterruptedException {
        String url = System.getenv("LEAD_ARCHIVE_URL").replaceAll("/$", "") + path;
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url))
            .timeout(Duration.ofSeconds(60))
            .header("Authorization", "Key=" + System.getenv("LEAD_ARCHIVE_KEY"))
            .header("Content-Type", "application/json");
        if (body != null) request.POST(HttpRequest.BodyPublishers.ofString(body));
        for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
            double wait = Math.min(60, 1 << attempt) * (0.5 + Math.random() / 2);
            String reason;
            try {
                HttpResponse<String> response = CLIENT.send(request.build(), HttpResponse.BodyHandlers.ofString());
                Answer answer = new Answer(response.statusCode(), response.body());
                long retryAfter = response.headers().firstValueAsLong("Retry-After").orElse(0);
                boolean isJson = answer.text().stripLeading().startsWith("{"); // an answer of a proxy's own is not
                // Office hours may last for hours: nobody should wait that long with a program open.
                if (isJson && answer.status() == 403) stop(3, answer.message() + "; start again in " + retryAfter + " seconds");
                if (isJson && !TRY_AGAIN.contains(answer.status())) return answer;
                wait = Math.max(wait, retryAfter);
                reason = answer.text();
            } catch (IOException error) {
                reason = error.toString(); // no answer, or half of one
            }
            if (attempt + 1 == ATTEMPTS) stop(1, path + ": " + reason + "; " + ATTEMPTS + " attempts failed");
            System.err.printf("%s: %s; attempt %d in %.0f seconds%n", path, reason, attempt + 2, wait);
            Thread.sleep((long) (1000 * wait));
        }
        throw new IllegalStateException();
    }

    static String json(Iterable<Long> ids) {
        List<String> numbers = new ArrayList<>();
        ids.forEach(id -> numbers.add(id.toString()));
        return "[" + String.join(",", numbers) + "]";
    }

    static void archive(List<Long> batch) throws InterruptedException {
        while (!batch.isEmpty()) {
            Answer answer = call("/vicidial/leads/archive", "{\"insert_leads\":true,\"update_leads\":true,\"delete_leads\":true,\"lead_ids\":"
                + json(batch) + (where.isEmpty() ? "" : ",\"where\":" + where) + "}");
            if (answer.status() == 200) {
                deleted += answer.number("delete_count");
                answer.numbers("remaining_lead_ids").forEach(id -> System.out.println(id + " stayed"));
                return;
            }
            Set<Long> refused = new LinkedHashSet<>(answer.numbers("lead_ids"));
            refused.retainAll(Set.copyOf(batch));
            if (refused.isEmpty()) stop(2, answer.message()); // the same request would be refused for ever
            refused.forEach(id -> System.out.println(id + " " + answer.message()));
            batch = batch.stream().filter(id -> !refused.contains(id)).toList();
        }
    }

    static void archiveFile(String name, int limit) throws IOException, InterruptedException {
        Set<Long> ids = Files.readAllLines(Path.of(name)).stream().map(String::trim).filter(line -> !line.isEmpty())
            .map(Long::parseLong).collect(Collectors.toCollection(LinkedHashSet::new)); // without duplicates
        List<Long> all = new ArrayList<>(ids);
        for (int start = 0; start < all.size(); start += limit) archive(all.subList(start, Math.min(start + limit, all.size())));
    }

    static void archiveFound(int limit) throws InterruptedException {
        for (String after = ""; ; ) {
            Answer page = call("/vicidial/leads/find", "{\"where\":" + where + ",\"limit\":" + limit + after + "}");
            if (page.status() != 200) stop(2, page.message());
            archive(page.numbers("lead_ids")); // a page may be empty before the last one
            if (page.text().matches("(?s).*\"done\":\\s*true.*")) return;
            after = ",\"after_lead_id\":" + page.number("next_after_lead_id");
        }
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        if (arguments.length == 0 || System.getenv().getOrDefault("LEAD_ARCHIVE_URL", "").isEmpty()
            || System.getenv().getOrDefault("LEAD_ARCHIVE_KEY", "").isEmpty()) {
            stop(2, "usage: LEAD_ARCHIVE_URL=URL LEAD_ARCHIVE_KEY=KEY ArchiveLeads FILE, or ArchiveLeads --where CONDITIONS");
        }
        String schema = call("/openapi.json", null).text().replaceFirst("(?s).*\"LeadIDs\":", "");
        int limit = (int) new Answer(200, schema).number("maxItems");
        if (arguments[0].equals("--where")) {
            where = arguments[1];
            archiveFound(limit);
        } else {
            archiveFile(arguments[0], limit);
        }
        System.err.println(deleted + " leads left vicidial_list");
    }
}
