// Archives leads: go run archive_leads.go FILE, or go run archive_leads.go --where '{"statuses": ["DNC"]}'. Go 1.19 or later.
//
// FILE holds one lead id a line. LEAD_ARCHIVE_URL and LEAD_ARCHIVE_KEY say where, and with which key. Prints the leads that
// stayed, each with the reason. Exit status: 0 done, 1 the service or the network fails, 2 refused, 3 within office hours.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const attempts = 8

// tryAgain has the statuses after which the same request may succeed.
var tryAgain = map[int]bool{408: true, 429: true, 500: true, 502: true, 503: true, 504: true}

var client = http.Client{Timeout: time.Minute}

// batch is the body of a request. A lead_id fits into an int64, not into an int32.
type batch struct {
	InsertLeads bool            `json:"insert_leads"`
	UpdateLeads bool            `json:"update_leads"`
	DeleteLeads bool            `json:"delete_leads"`
	LeadIDs     []int64         `json:"lead_ids"`
	Where       json.RawMessage `json:"where,omitempty"`
}

type page struct {
	Where json.RawMessage `json:"where"`
	Limit int             `json:"limit"`
	After *int64          `json:"after_lead_id,omitempty"`
}

// answer has what this program needs of all answers. Later releases may send more fields.
type answer struct {
	Message     string  `json:"message"`
	DeleteCount int     `json:"delete_count"`
	Remaining   []int64 `json:"remaining_lead_ids"`
	LeadIDs     []any   `json:"lead_ids"`
	Next        *int64  `json:"next_after_lead_id"`
	Done        bool    `json:"done"`
}

func stop(status int, message string) {
	fmt.Fprintln(os.Stderr, message)
	os.Exit(status)
}

// try sends a request once. seconds: how long the service asks to wait.
func try(path string, body any) (status int, seconds float64, text []byte, err error) {
	method, content := http.MethodGet, []byte(nil)
	if body != nil {
		method = http.MethodPost
		if content, err = json.Marshal(body); err != nil {
			stop(2, err.Error())
		}
	}
	request, err := http.NewRequest(method, strings.TrimSuffix(os.Getenv("LEAD_ARCHIVE_URL"), "/")+path, bytes.NewReader(content))
	if err != nil {
		stop(2, err.Error())
	}
	request.Header.Set("Authorization", "Key="+os.Getenv("LEAD_ARCHIVE_KEY"))
	request.Header.Set("Content-Type", "application/json")
	response, err := client.Do(request)
	if err != nil {
		return 0, 0, nil, err
	}
	defer response.Body.Close()
	text, err = io.ReadAll(response.Body)
	seconds, _ = strconv.ParseFloat(response.Header.Get("Retry-After"), 64)
	return response.StatusCode, seconds, text, err
}

// call returns the status and the answer, after as many attempts as it takes: to repeat a request is always safe.
func call(path string, body any) (int, answer, []byte) {
	for attempt := 0; attempt < attempts; attempt++ {
		status, seconds, text, err := try(path, body)
		var said answer
		if err == nil && !tryAgain[status] {
			if err = json.Unmarshal(text, &said); err == nil {
				if status == http.StatusForbidden { // office hours may last for hours: nobody should wait that long with a program open
					stop(3, fmt.Sprintf("%s; start again in %.0f seconds", said.Message, seconds))
				}
				return status, said, text
			}
		}
		reason := fmt.Sprintf("%s: %d %s %v", path, status, text, err)
		if attempt+1 == attempts {
			stop(1, fmt.Sprintf("%s; %d attempts failed", reason, attempts))
		}
		wait := float64(int(1)<<attempt) * (0.5 + rand.Float64()/2)
		if wait > 60 {
			wait = 60
		}
		if seconds > wait {
			wait = seconds
		}
		fmt.Fprintf(os.Stderr, "%s; attempt %d in %.0f seconds\n", reason, attempt+2, wait)
		time.Sleep(time.Duration(wait * float64(time.Second)))
	}
	panic("not reached")
}

func fromFile(name string, limit int, archive func([]int64)) {
	text, err := os.ReadFile(name)
	if err != nil {
		stop(2, err.Error())
	}
	seen := map[int64]bool{}
	var ids []int64
	for _, word := range strings.Fields(string(text)) {
		id, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			stop(2, err.Error())
		}
		if !seen[id] { // without duplicates
			seen[id] = true
			ids = append(ids, id)
		}
	}
	for start := 0; start < len(ids); start += limit {
		end := start + limit
		if end > len(ids) {
			end = len(ids)
		}
		archive(ids[start:end])
	}
}

func found(where json.RawMessage, limit int, archive func([]int64)) {
	for next := (page{Where: where, Limit: limit}); ; {
		status, said, text := call("/vicidial/leads/find", next)
		var ids struct {
			LeadIDs []int64 `json:"lead_ids"`
		}
		if status != http.StatusOK || json.Unmarshal(text, &ids) != nil {
			stop(2, said.Message)
		}
		if len(ids.LeadIDs) > 0 { // a page may be empty before the last one
			archive(ids.LeadIDs)
		}
		if said.Done {
			return
		}
		next.After = said.Next
	}
}

func main() {
	if len(os.Args) < 2 || os.Getenv("LEAD_ARCHIVE_URL") == "" || os.Getenv("LEAD_ARCHIVE_KEY") == "" {
		stop(2, "usage: LEAD_ARCHIVE_URL=URL LEAD_ARCHIVE_KEY=KEY archive_leads FILE, or archive_leads --where CONDITIONS")
	}
	_, _, text := call("/openapi.json", nil)
	var contract struct {
		Components struct {
			Schemas struct {
				LeadIDs struct {
					MaxItems int `json:"maxItems"`
				}
			} `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(text, &contract); err != nil {
		stop(2, err.Error())
	}
	limit := contract.Components.Schemas.LeadIDs.MaxItems

	var where json.RawMessage
	deleted := 0
	archive := func(ids []int64) {
		for len(ids) > 0 {
			status, said, _ := call("/vicidial/leads/archive", batch{true, true, true, ids, where})
			if status == http.StatusOK {
				deleted += said.DeleteCount
				for _, id := range said.Remaining {
					fmt.Println(id, "stayed")
				}
				return
			}
			named := map[int64]bool{}
			for _, value := range said.LeadIDs {
				if number, ok := value.(float64); ok {
					named[int64(number)] = true
				}
			}
			var others []int64
			for _, id := range ids {
				if named[id] {
					fmt.Println(id, said.Message)
				} else {
					others = append(others, id)
				}
			}
			if len(others) == len(ids) { // the same request would be refused for ever
				stop(2, said.Message)
			}
			ids = others
		}
	}
	if os.Args[1] == "--where" {
		where = json.RawMessage(os.Args[2])
		found(where, limit, archive)
	} else {
		fromFile(os.Args[1], limit, archive)
	}
	fmt.Fprintln(os.Stderr, deleted, "leads left vicidial_list")
}
