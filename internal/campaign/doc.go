// Package campaign proves relay's promise on its real parts: the binary, a Postgres of its own, application writers and
// endpoints that misbehave, with faults thrown at all of them, and an oracle that compares what was committed with what
// the endpoints were sent.
//
// docs/testing.md says which test proves what. RELAY_SEED replays a random campaign, SOAK makes it long.
package campaign
