package mapping

// Expression is a compiled CEL expression of an endpoint. It is immutable and safe for concurrent use.
type Expression struct {
	text string
}

// String returns the expression as it was written.
func (x *Expression) String() string { return x.text }
