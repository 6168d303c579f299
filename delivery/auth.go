package delivery

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"relay/mapping"
)

// authorization returns the Authorization header that never changes; it is empty for none and for OAuth2.
func authorization(auth mapping.Auth, user *url.Userinfo) string {
	switch {
	case auth.Bearer != "":
		return "Bearer " + auth.Bearer
	case auth.Basic != nil:
		return basic(auth.Basic.Username, auth.Basic.Password)
	case auth.OAuth2 == nil && user != nil:
		password, _ := user.Password()
		return basic(user.Username(), password)
	}
	return ""
}

func basic(username, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(username+":"+password))
}

// token is an access token, as the value of the Authorization header.
type token struct {
	*oauth2.Token
	header string
}

// tokens gets access tokens by OAuth2 client credentials and keeps the last one until it expires or is refused. It is
// safe for concurrent use.
type tokens struct {
	config    clientcredentials.Config
	transport *http.Transport

	// turn holds one value: who has taken it may read and change cached, and is the only one who asks for a token. A
	// channel, since waiting for it must end with the attempt.
	turn   chan struct{}
	cached *token
}

func newTokens(ep *mapping.Endpoint) *tokens {
	t := &tokens{
		config: clientcredentials.Config{
			ClientID: ep.Auth.OAuth2.ClientID, ClientSecret: ep.Auth.OAuth2.ClientSecret,
			TokenURL: ep.Auth.OAuth2.TokenURL, Scopes: ep.Auth.OAuth2.Scopes,
		},
		transport: plainTransport(ep),
		turn:      make(chan struct{}, 1),
	}
	t.turn <- struct{}{}
	return t
}

// get returns the cached token, or a new one.
func (t *tokens) get(ctx context.Context) (*token, error) {
	select {
	case <-t.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { t.turn <- struct{}{} }()
	if t.cached != nil && t.cached.Valid() {
		return t.cached, nil
	}
	client := &http.Client{Transport: t.transport, CheckRedirect: noRedirect}
	fresh, err := t.config.Token(context.WithValue(ctx, oauth2.HTTPClient, client))
	if err != nil {
		return nil, tokenError(err)
	}
	t.cached = &token{Token: fresh, header: fresh.Type() + " " + fresh.AccessToken}
	return t.cached, nil
}

// drop forgets a token that was refused, unless another attempt has got a newer one by now.
func (t *tokens) drop(refused *token) {
	<-t.turn
	if t.cached == refused {
		t.cached = nil
	}
	t.turn <- struct{}{}
}

func (t *tokens) close() { t.transport.CloseIdleConnections() }

// noRedirect keeps credentials from following a redirect.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// tokenError returns the error without the URL, and without the answer's body, which may hold anything.
func tokenError(err error) error {
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		parts := []string{"token endpoint answered"}
		if refused.Response != nil {
			parts = append(parts, refused.Response.Status)
		}
		if refused.ErrorCode != "" {
			parts = append(parts, refused.ErrorCode, refused.ErrorDescription)
		}
		return errors.New(strings.Join(parts, " "))
	}
	if wrapped, ok := errors.AsType[*url.Error](err); ok {
		return fmt.Errorf("get oauth2 token: %w", wrapped.Err)
	}
	return fmt.Errorf("get oauth2 token: %w", err)
}
