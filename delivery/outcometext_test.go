package delivery

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/delivery/deliverytest"
	"relay/mapping"
)

func TestClient_TellsWhatTheEndpointSaid(t *testing.T) {
	t.Parallel()
	for _, cut := range []deliverytest.Cut{deliverytest.CutNowhere, deliverytest.CutBody} {
		c, _ := setup(t, deliverytest.Answers(deliverytest.Answer{Status: 422, Body: "no\r\n such\x00\x1b order", Cut: cut}))
		require.Equal(t, "answered 422 Unprocessable Entity: no such order", c.Send(t.Context(), request("msg_1")).Err)
	}
	c, _ := setup(t, deliverytest.Always(503))
	require.Equal(t, "answered 503 Service Unavailable", c.Send(t.Context(), request("msg_1")).Err)
	c, _ = setup(t, deliverytest.Always(301))
	require.Contains(t, c.Send(t.Context(), request("msg_1")).Err, "redirects are not followed")
}

func TestClient_HidesSecretsThatTheEndpointRepeats(t *testing.T) {
	t.Parallel()
	e := deliverytest.New(t, func(r deliverytest.Receipt) deliverytest.Answer {
		return deliverytest.Answer{Status: 400, Body: "bad " + r.Path + " " + r.Header.Get("Authorization") + " " + r.Header.Get("X-Api-Key")}
	})
	ep := endpointAt(strings.Replace(e.URL, "//", "//aladdin:sesame-1@", 1) + "/T0123/sesame-2-sesame?key=sesame-3")
	ep.Headers = [][2]string{{"X-Api-Key", "sesame-4-sesame"}}
	o := newClient(t, ep).Send(t.Context(), request("msg_1"))
	require.Equal(t, "answered 400 Bad Request: bad [hidden] Basic [hidden] [hidden]", o.Err)

	ep.Auth = mapping.Auth{Bearer: "sesame-5-sesame"}
	require.NotContains(t, newClient(t, ep).Send(t.Context(), request("msg_1")).Err, "sesame")

	ep.Auth = mapping.Auth{}
	o = newClient(t, withOAuth2(ep, tokenEndpoint(t, 1))).Send(t.Context(), request("msg_1"))
	require.Contains(t, o.Err, "Bearer [hidden]")
}

func TestClient_HidesThePayloadThatTheEndpointRepeats(t *testing.T) {
	t.Parallel()
	c, _ := setup(t, func(r deliverytest.Receipt) deliverytest.Answer {
		return deliverytest.Answer{Status: 400, Body: "field test of " + string(r.Body) + " is wrong"}
	})
	require.Equal(t, "answered 400 Bad Request: field test of [payload] is wrong", c.Send(t.Context(), request("msg_1")).Err)
	require.Equal(t, "[payload][payload] b", withoutEcho([]byte("0123456789abcdef0123456789abcdef b"), []byte("0123456789abcdef")))
	require.Equal(t, "customer_name is missing", withoutEcho([]byte("customer_name is missing"), []byte(`{"customer_name": "alice"}`)))
}

func TestOneLine_IsShortAndPrintable(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.SliceOfN(rapid.Byte(), 0, 2000).Draw(t, "raw")
		s := oneLine(string(raw))
		require.LessOrEqual(t, len(s), errLimit)
		require.True(t, utf8.ValidString(s))
		for _, r := range s {
			require.True(t, unicode.IsPrint(r), "%q", r)
		}
	})
	require.Equal(t, "a b", oneLine("\ta\r\n\x00 b:"))
	require.Len(t, oneLine(strings.Repeat("é", 400)), errLimit-1, "cut between letters")
}
