package mapping

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
)

// Never reports whether the endpoint's where expression is false without looking at the event.
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
	constant := true
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind {
			switch e.AsIdent() {
			case "event", "payload", "row":
				constant = false
			}
		}
	}))
	if !constant {
		return false
	}
	val, _, err := e.Where.program.Eval(cel.NoVars())
	return err == nil && val == types.False
}
