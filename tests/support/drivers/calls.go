// Sends the calls in a file with the generated client, and prints for each its status, what is in the answer, and the message.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	openapi "lead_archive/client"
)

type call struct {
	URL     string            `json:"url"`
	Headers map[string]string `json:"headers"`
	LeadIDs []int64           `json:"lead_ids"`
}

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	var calls []call
	if err := json.Unmarshal(text, &calls); err != nil {
		panic(err)
	}
	for _, call := range calls {
		configuration := openapi.NewConfiguration()
		configuration.Servers = openapi.ServerConfigurations{{URL: call.URL}}
		for name, value := range call.Headers {
			configuration.AddDefaultHeader(name, value)
		}
		batch := openapi.NewArchiveRequest(true, true, true, call.LeadIDs)
		result, response, err := openapi.NewAPIClient(configuration).LeadsAPI.ArchiveLeads(context.Background()).ArchiveRequest(*batch).Execute()
		said := []any{response.StatusCode, nil, nil}
		if err == nil {
			said[1], said[2] = result.RemainingLeadIds, result.Message
		} else {
			switch model := err.(*openapi.GenericOpenAPIError).Model().(type) {
			case openapi.LeadError:
				said[1], said[2] = model.LeadIds, model.Message
			case openapi.ErrorMessage:
				said[2] = model.Message
			default:
				said[2] = err.Error()
			}
		}
		line, _ := json.Marshal(said)
		fmt.Println(string(line))
	}
}
