// Package mapping turns rows into what endpoints receive: it loads relay.yaml, makes events of rows, finds the endpoints
// subscribed to them and renders their requests. It is pure: it knows no connections and starts no goroutines.
package mapping
