package delivery

import "relay/mapping"

// LaneKey returns the key by which deliveries of an endpoint with that order setting follow each other, which is a Parked's
// Lane, and whether they do at all.
func LaneKey(order mapping.Order, ev *mapping.Event) (string, bool) {
	switch order {
	case mapping.OrderStrict:
		return "", true
	case mapping.OrderNone:
		return "", false
	default:
		return ev.Key, ev.Keyed
	}
}
