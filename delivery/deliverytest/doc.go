// Package deliverytest provides an endpoint for tests, in the manner of net/http/httptest: it records every request and
// answers each as a script says, also as endpoints should not.
package deliverytest
