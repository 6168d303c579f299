// Package wire speaks HTTP/1.1 over connections of its own: a request is written in one go, the answer is read on the
// goroutine that asks for it, and a connection that nobody uses costs neither a goroutine nor a buffer. It knows no
// endpoints, headers or outcomes; what makes it worth having beside net/http is in
// docs/decisions/0001-own-http-connections.md.
package wire
