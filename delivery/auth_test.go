package delivery

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

func TestClient_AuthenticatesItself(t *testing.T) {
	t.Parallel()
	e := deliverytest.New(t, nil)
	host := strings.TrimPrefix(e.URL, "http://")
	for want, change := range map[string]func(*mapping.Endpoint){
		"":                       func(*mapping.Endpoint) {},
		"Bearer open-sesame":     func(ep *mapping.Endpoint) { ep.Auth.Bearer = "open-sesame" },
		"Basic YWxhZGRpbjpvcGVu": func(ep *mapping.Endpoint) { ep.Auth.Basic = &mapping.Basic{Username: "aladdin", Password: "open"} },
		"Basic dXNlcjpwYSBzcw==": func(ep *mapping.Endpoint) { ep.URL = "http://user:pa%20ss@" + host },
		"Bearer stronger-than-the-url": func(ep *mapping.Endpoint) {
			ep.URL = "http://user:pass@" + host
			ep.Auth.Bearer = "stronger-than-the-url"
		},
		"Key of-its-own": func(ep *mapping.Endpoint) { ep.Headers = [][2]string{{"Authorization", "Key of-its-own"}} },
	} {
		ep := endpointAt(e.URL)
		change(ep)
		require.Equal(t, Delivered, newClient(t, ep).Send(t.Context(), request("msg_1")).Verdict)
		got := e.Receipts()
		require.Equal(t, want, got[len(got)-1].Header.Get("Authorization"))
	}
}

// tokenEndpoint hands out the tokens token-0, token-1, … and answers other statuses without one.
func tokenEndpoint(t *testing.T, expires time.Duration, statuses ...int) *deliverytest.Endpoint {
	t.Helper()
	return deliverytest.New(t, func(r deliverytest.Receipt) deliverytest.Answer {
		if len(statuses) > 0 && statuses[min(r.N, len(statuses)-1)] != 200 {
			return deliverytest.Answer{
				Status: statuses[min(r.N, len(statuses)-1)], Header: http.Header{"Content-Type": {"application/json"}},
				Body: `{"error":"invalid_client","error_description":"who is open-sesame?"}`,
			}
		}
		return deliverytest.Answer{Header: http.Header{"Content-Type": {"application/json"}}, Body: fmt.Sprintf(
			`{"access_token":"the-token-%d","token_type":"bearer","expires_in":%d}`, r.N, int(expires.Seconds()))}
	})
}

func withOAuth2(ep *mapping.Endpoint, tokens *deliverytest.Endpoint) *mapping.Endpoint {
	ep.Auth.OAuth2 = &mapping.OAuth2{
		TokenURL: tokens.URL + "/token", ClientID: "relay", ClientSecret: "open-sesame", Scopes: []string{"a", "b"},
	}
	return ep
}

func TestClient_GetsATokenOnceAndKeepsIt(t *testing.T) {
	t.Parallel()
	tokens, e := tokenEndpoint(t, time.Hour), deliverytest.New(t, nil)
	c := newClient(t, withOAuth2(endpointAt(e.URL), tokens))
	var workers sync.WaitGroup
	for range 8 {
		workers.Go(func() { c.Send(t.Context(), request("msg_1")) })
	}
	workers.Wait()
	for _, r := range e.Wait(t, 8) {
		require.Equal(t, "Bearer the-token-0", r.Header.Get("Authorization"))
	}
	require.Len(t, tokens.Receipts(), 1)
	require.Equal(t, "grant_type=client_credentials&scope=a+b", string(tokens.Receipts()[0].Body))
}

func TestClient_RenewsATokenThatExpires(t *testing.T) {
	t.Parallel()
	tokens, e := tokenEndpoint(t, time.Second), deliverytest.New(t, nil) // within the margin: expired at once
	c := newClient(t, withOAuth2(endpointAt(e.URL), tokens))
	for range 2 {
		require.Equal(t, Delivered, c.Send(t.Context(), request("msg_1")).Verdict)
	}
	require.Equal(t, "Bearer the-token-1", e.Receipts()[1].Header.Get("Authorization"))
}

func TestClient_RenewsARefusedTokenOnce(t *testing.T) {
	t.Parallel()
	tokens := tokenEndpoint(t, time.Hour)
	e := deliverytest.New(t, deliverytest.Statuses(200, 401, 200, 401, 401, 200))
	c := newClient(t, withOAuth2(endpointAt(e.URL), tokens))
	require.Equal(t, Delivered, c.Send(t.Context(), request("msg_1")).Verdict)
	require.Equal(t, Delivered, c.Send(t.Context(), request("msg_2")).Verdict)
	require.Equal(t, "Bearer the-token-1", e.Receipts()[2].Header.Get("Authorization"))
	o := c.Send(t.Context(), request("msg_3"))
	require.Equal(t, Retry, o.Verdict, "refused twice")
	require.Equal(t, 401, o.Status)
	require.Len(t, e.Receipts(), 5)
}

func TestClient_FailsWithoutAToken(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{400: "400 Bad Request", 503: "503 Service Unavailable"} {
		tokens, e := tokenEndpoint(t, time.Hour, status), deliverytest.New(t, nil)
		o := newClient(t, withOAuth2(endpointAt(e.URL), tokens)).Send(t.Context(), request("msg_1"))
		require.Equal(t, Failed, o.Verdict)
		require.Equal(t, ReasonAuth, o.Reason)
		require.Equal(t, EffectFailure, o.Effect())
		require.Contains(t, o.Err, "token endpoint answered "+want)
		require.NotContains(t, o.Err, "sesame")
		require.Empty(t, e.Receipts())
	}
}

func TestClient_GivesUpOnATokenInTime(t *testing.T) {
	t.Parallel()
	tokens := deliverytest.New(t, deliverytest.Answers(deliverytest.Answer{Hang: true}))
	ep := withOAuth2(endpointAt(tokens.URL), tokens)
	ep.Timeout = 100 * time.Millisecond
	c := newClient(t, ep)
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			o := c.Send(t.Context(), request("msg_1"))
			if o.Reason != ReasonAuth || o.Duration > 5*time.Second {
				t.Errorf("got %s after %s, want auth after 100ms", o.Reason, o.Duration)
			}
		})
	}
	workers.Wait()
}
