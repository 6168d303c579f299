package mapping

import (
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// Never reports whether the endpoint's where expression is false for every event of the types it takes, whatever else is in
// the event: as where: event.type == "order.paid" is for events: [order.created].
func (e *Endpoint) Never() bool {
	if e.Where == nil {
		return false
	}
	env, err := celEnv()
	if err != nil {
		return false
	}
	checked, issues := env.Compile(e.Where.text)
	if issues.Err() != nil {
		return false
	}
	reads := eventReads(checked.NativeRep().Expr())
	exact := reads == readsType
	for _, p := range e.Events {
		exact = exact && p.Exact()
	}
	if reads == readsMore || reads == readsType && !exact {
		return false // what it depends on may be anything
	}
	for _, p := range e.Events {
		val, _, err := e.Where.program.Eval(&activation{ev: &Event{Type: string(p)}})
		if err != nil || val != types.False {
			return false
		}
	}
	return true
}

// reads is what an expression looks at of an event.
type reads int

const (
	readsNothing reads = iota
	readsType          // event.type and nothing else
	readsMore
)

func eventReads(e ast.Expr) reads {
	found, ofType := 0, 0
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.IdentKind:
			switch e.AsIdent() {
			case "event", "payload", "row":
				found++
			}
		case ast.SelectKind:
			s := e.AsSelect()
			if of := s.Operand(); of.Kind() == ast.IdentKind && of.AsIdent() == "event" && s.FieldName() == "type" && !s.IsTestOnly() {
				ofType++
			}
		}
	}))
	switch {
	case found == 0:
		return readsNothing
	case found == ofType:
		return readsType
	}
	return readsMore
}
