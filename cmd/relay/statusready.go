package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"relay/mapping"
)

// readiness is what relay status --ready prints.
type readiness struct {
	Ready  bool   `json:"ready"`
	Reason string `json:"reason"`
}

// askReady asks the relay's /readyz, for which no token is wanted.
func (s *statusCommand) askReady(ctx context.Context, cfg *mapping.Config) error {
	where, err := askedAt(cfg, s.address)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+where+"/readyz", nil)
	if err != nil {
		return usagef("--address %q: want host:port", s.address)
	}
	transport := &http.Transport{DisableKeepAlives: true} // of its own: not through a proxy of the environment
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask the relay at %s: %w", where, err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return fmt.Errorf("ask the relay at %s: %w", where, err)
	}
	r := readiness{resp.StatusCode == http.StatusOK, strings.Join(strings.Fields(string(text)), " ")}
	if !strings.HasPrefix(strings.TrimPrefix(r.Reason, "not "), "ready") {
		return fmt.Errorf("what listens at %s answered %s: it is no relay", where, resp.Status)
	}
	return s.tellReady(r)
}

func (s *statusCommand) tellReady(r readiness) error {
	switch {
	case s.json:
		if err := s.printJSON(r); err != nil || r.Ready {
			return err
		}
		return errReported
	case r.Ready:
		s.printf("%s\n", r.Reason)
		return nil
	default:
		return errors.New(r.Reason)
	}
}
