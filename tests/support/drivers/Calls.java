// Sends the calls in a file with the generated client, and prints for each its status, what is in the answer, and the message.
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.ApiResponse;
import org.openapitools.client.api.LeadsApi;
import org.openapitools.client.model.ArchiveRequest;
import org.openapitools.client.model.ArchiveResult;

public class Calls {
    public static void main(String[] arguments) throws Exception {
        ObjectMapper json = new ObjectMapper();
        for (JsonNode call : json.readTree(new File(arguments[0]))) {
            ApiClient client = new ApiClient();
            client.updateBaseUri(call.get("url").asText());
            // java.net.http adds no Authorization of its own.
            client.setRequestInterceptor(request -> call.get("headers").fields().forEachRemaining(
                header -> request.setHeader(header.getKey(), header.getValue().asText())));
            Set<Long> leadIds = new LinkedHashSet<>();
            call.get("lead_ids").forEach(leadId -> leadIds.add(leadId.asLong()));
            ArchiveRequest batch = new ArchiveRequest().insertLeads(true).updateLeads(true).deleteLeads(true).leadIds(leadIds);
            List<Object> said = new ArrayList<>();
            try {
                ApiResponse<ArchiveResult> answer = new LeadsApi(client).archiveLeadsWithHttpInfo(batch, null);
                said.addAll(List.of(answer.getStatusCode(), answer.getData().getRemainingLeadIds(), answer.getData().getMessage().getValue()));
            } catch (ApiException error) {
                JsonNode body = json.readTree(error.getResponseBody());
                said.add(error.getCode());
                said.add(body.get("lead_ids"));
                said.add(body.get("message"));
            }
            System.out.println(json.writeValueAsString(said));
        }
    }
}
