package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"relay/delivery"
	"relay/delivery/park"
)

// parkedStore is the relay's own tables, as the admin API uses them.
type parkedStore interface {
	List(ctx context.Context, f park.Filter) ([]park.Entry, error)
	Retry(ctx context.Context, f park.Filter) (int64, error)
	Discard(ctx context.Context, f park.Filter) (int64, error)
	Pause(ctx context.Context, endpoint string) error
	Resume(ctx context.Context, endpoint string) error
}

var _ parkedStore = (*park.Store)(nil)

// maxPage is the most deliveries one answer lists, each with its payload.
const maxPage = 1000

// parkedRoutes are the routes of the admin server about parked deliveries and pauses. known reports whether an endpoint
// is in the configuration now; contents says that whoever asks has shown a token, and may see payloads.
func parkedRoutes(store parkedStore, known func(endpoint string) bool, contents bool) map[string]adminRoute {
	return map[string]adminRoute{
		"GET /api/v1/parked":                   func(r *http.Request) (any, error) { return listParked(r, store, contents) },
		"POST /api/v1/parked/retry":            changeParked("retried", store.Retry),
		"POST /api/v1/parked/discard":          changeParked("discarded", store.Discard),
		"POST /api/v1/endpoints/{name}/pause":  changeEndpoint("paused", store.Pause, known),
		"POST /api/v1/endpoints/{name}/resume": changeEndpoint("resumed", store.Resume, known),
	}
}

func badRequest(err error) error { return httpError{http.StatusBadRequest, err} }

// listParked answers a page, by ?endpoint=, state=, event=, type=, and after= (the last id of the page before) and limit=.
func listParked(r *http.Request, store parkedStore, contents bool) (any, error) {
	q := r.URL.Query()
	f := park.Filter{
		Endpoint: q.Get("endpoint"), State: delivery.State(q.Get("state")), EventID: q.Get("event"), Type: q.Get("type"),
	}
	after, err := queryNumber(q, "after", 0)
	if err != nil {
		return nil, err
	}
	limit, err := queryNumber(q, "limit", 100)
	if err != nil {
		return nil, err
	}
	f.After, f.Limit = after, int(min(max(limit, 1), maxPage))
	if err := checkState(f.State); err != nil {
		return nil, err
	}
	entries, err := store.List(r.Context(), f)
	if err != nil {
		return nil, err
	}
	all := make([]parkedDelivery, len(entries))
	for i, e := range entries {
		all[i] = newParkedDelivery(e)
		if !contents {
			all[i].Payload, all[i].Headers = nil, nil
		}
	}
	return all, nil
}

func queryNumber(q url.Values, name string, otherwise int64) (int64, error) {
	if !q.Has(name) {
		return otherwise, nil
	}
	n, err := strconv.ParseInt(q.Get(name), 10, 64)
	if err != nil {
		return 0, badRequest(fmt.Errorf("%s: want a number", name))
	}
	return n, nil
}

func checkState(state delivery.State) error {
	if state != "" && state != delivery.Waiting && state != delivery.Dead {
		return badRequest(fmt.Errorf("state: want %s or %s", delivery.Waiting, delivery.Dead))
	}
	return nil
}

// parkedChange is the body of retry and discard. What is empty does not restrict, but something has to.
type parkedChange struct {
	IDs      []int64        `json:"ids"`
	Endpoint string         `json:"endpoint"`
	Type     string         `json:"type"`
	State    delivery.State `json:"state"`
}

func changeParked(done string, change func(context.Context, park.Filter) (int64, error)) adminRoute {
	return func(r *http.Request) (any, error) {
		var body parkedChange
		dec := json.NewDecoder(r.Body)
		dec.DisallowUnknownFields() // a misspelt restriction must not restrict nothing
		if err := dec.Decode(&body); err != nil {
			return nil, badRequest(fmt.Errorf(`want {"ids":[…]} or {"endpoint":…,"type":…,"state":…}: %w`, err))
		}
		if len(body.IDs) == 0 && body.Endpoint == "" && body.Type == "" && body.State == "" {
			return nil, badRequest(errors.New("say which: ids, endpoint, type or state"))
		}
		if err := checkState(body.State); err != nil {
			return nil, err
		}
		n, err := change(r.Context(), park.Filter{IDs: body.IDs, Endpoint: body.Endpoint, Type: body.Type, State: body.State})
		if err != nil {
			return nil, err
		}
		return map[string]int64{done: n}, nil
	}
}

func changeEndpoint(done string, change func(context.Context, string) error, known func(string) bool) adminRoute {
	return func(r *http.Request) (any, error) {
		name := r.PathValue("name")
		if !known(name) {
			return nil, httpError{http.StatusNotFound, fmt.Errorf("no endpoint %q", name)}
		}
		if err := change(r.Context(), name); err != nil {
			return nil, err
		}
		return map[string]string{done: name}, nil
	}
}
