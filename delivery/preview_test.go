package delivery_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/delivery"
	"relay/mapping"
)

func TestPreview_IsTheRequestWithoutItsSecrets(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_700_000_000, 0)
	secret, err := mapping.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(t, err)
	ep := &mapping.Endpoint{
		Name: "a", URL: "https://h.example/in?token=hunter2", Format: mapping.FormatStandard, Timeout: time.Second, Secrets: []mapping.Secret{secret},
		Headers: [][2]string{{"X-Key", "hunter2"}}, Auth: mapping.Auth{Basic: &mapping.Basic{Username: "u", Password: "hunter2"}},
	}
	ev := &mapping.Event{ID: "e1", Type: "t", Payload: []byte(`{}`), Headers: []byte(`{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}`)}
	req, err := delivery.NewRequest(ep, ev)
	require.NoError(t, err)
	preview := func(ep *mapping.Endpoint) *delivery.Preview {
		p, err := delivery.NewPreview(ep, "1", &req, now)
		require.NoError(t, err)
		return p
	}
	p := preview(ep)
	require.Equal(t, "https://h.example/in?[hidden]", p.URL)
	require.Equal(t, http.MethodPost, p.Method)
	for name, want := range map[string]string{
		"Host": "h.example", "Authorization": "Basic [hidden]", "X-Key": "[hidden]", "Webhook-Id": "e1", "Webhook-Timestamp": "1700000000",
		"User-Agent": "relay/1", "Content-Type": "application/json", "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	} {
		got, ok := p.Header(name)
		require.True(t, ok, name)
		require.Equal(t, want, got, name)
	}

	other := *ep
	other.Headers, other.URL = [][2]string{{"X-Key", "another"}}, "https://h.example/in?token=another"
	q := preview(&other)
	require.False(t, p.SameHeader(q, "X-Key"), "what is hidden is compared all the same")
	require.False(t, p.SameURL(q))
	require.True(t, p.SameHeader(q, "Authorization"))
	require.True(t, p.SameHeader(preview(ep), "Webhook-Signature"))

	oauth := *ep
	oauth.Auth = mapping.Auth{OAuth2: &mapping.OAuth2{TokenURL: "https://t.example", ClientID: "c", ClientSecret: "hunter2"}}
	got, _ := preview(&oauth).Header("Authorization")
	require.Equal(t, "Bearer [hidden]", got)

	req.ID = "a\nb"
	_, err = delivery.NewPreview(ep, "1", &req, now)
	require.ErrorContains(t, err, "cannot be a header")
}
