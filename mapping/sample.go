package mapping

import _ "embed"

// Sample is a commented relay.yaml with every key, which loads as it is. The repository's own is the same.
//
//go:embed sample.yaml
var Sample []byte
