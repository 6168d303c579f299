package mapping

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
)

// maxCost bounds the evaluation of an expression on one event, in CEL's units: about a tenth of a second. A list of
// 100,000 elements can be searched, a list of lists cannot.
const maxCost = 1_000_000

// Expression is a compiled CEL expression of an endpoint. It is immutable and safe for concurrent use.
type Expression struct {
	source  string // as in the file, for people: what ${…} stands for may be secret
	text    string // expanded
	program cel.Program
}

// String returns the expression as it is in the file. That of no expression is empty.
func (x *Expression) String() string {
	if x == nil {
		return ""
	}
	return x.source
}

// expanded returns the expression as it is evaluated.
func (x *Expression) expanded() string {
	if x == nil {
		return ""
	}
	return x.text
}

// exprError is what is wrong with an expression, and where in it: the line counts from 1, the column from 0.
type exprError struct {
	line, column int
	message      string
}

// compileWhere compiles an expression that is true or false. One that is only known when it is evaluated, such as
// payload.active, passes.
func compileWhere(text string) (*Expression, []exprError) {
	return compile(text, func(t *types.Type) string {
		if t.Kind() == types.BoolKind || t.Kind() == types.DynKind {
			return ""
		}
		return "gives " + cel.FormatCELType(t) + ", expected bool"
	})
}

// compileBody compiles an expression that gives JSON.
func compileBody(text string) (*Expression, []exprError) {
	return compile(text, func(t *types.Type) string {
		if t.Kind() == types.TypeKind || t.Kind() == types.ErrorKind {
			return "gives " + cel.FormatCELType(t) + ", expected what JSON can hold"
		}
		return ""
	})
}

func compile(text string, check func(*types.Type) string) (*Expression, []exprError) {
	env, err := celEnv()
	if err != nil {
		return nil, []exprError{{1, 0, "prepare CEL: " + err.Error()}}
	}
	ast, issues := env.Compile(text)
	if errs := exprErrors(issues); len(errs) > 0 {
		return nil, errs
	}
	if problem := check(ast.OutputType()); problem != "" {
		return nil, []exprError{{1, 0, problem}}
	}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.CostLimit(maxCost))
	if err != nil {
		return nil, []exprError{{1, 0, firstLine(err.Error())}}
	}
	return &Expression{source: text, text: text, program: program}, nil
}

func exprErrors(issues *cel.Issues) []exprError {
	if issues.Err() == nil {
		return nil
	}
	var errs []exprError
	for _, e := range issues.Errors() {
		message := strings.ReplaceAll(firstLine(e.Message), " (in container '')", "")
		message, _, _ = strings.Cut(message, " expecting ")
		message = strings.Replace(message, "mismatched input '<EOF>'", "the expression ends too early", 1)
		if strings.Contains(message, "wrapper(string)") {
			message = strings.ReplaceAll(message, "wrapper(string)", "string or null") +
				": the columns of row are text, use int(…) or double(…)"
		}
		if strings.HasPrefix(message, "undeclared reference to") {
			message += ", expected event, payload, row or a function of CEL"
		}
		if strings.HasPrefix(message, "undefined field") {
			message += ", expected one of " + strings.Join(eventFields, ", ")
		}
		errs = append(errs, exprError{e.Location.Line(), e.Location.Column(), message})
	}
	return errs
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return shorten(s)
}

// eval evaluates the expression. The error's text is for an operator: it says what failed, on what it can.
func (x *Expression) eval(act *activation) (ref.Val, error) {
	val, _, err := x.program.Eval(act)
	if act.err != nil && errors.Is(err, act.err) {
		return nil, act.err
	}
	if err != nil {
		return nil, evalError(err)
	}
	if types.IsError(val) || types.IsUnknown(val) {
		return nil, evalError(fmt.Errorf("%v", val))
	}
	return val, nil
}

func evalError(err error) error {
	text := firstLine(err.Error())
	if strings.Contains(text, "cost limit exceeded") {
		return errors.New("too costly for this event: it takes more steps than one event may")
	}
	if strings.HasPrefix(text, "no such overload") {
		text += " (numbers with and without a fraction do not mix in arithmetic: use double(…) or int(…))"
	}
	return errors.New(text)
}

var errNotBool = errors.New("gives something that is neither true nor false")

// match evaluates a where expression.
func (x *Expression) match(act *activation) (bool, error) {
	val, err := x.eval(act)
	if err != nil {
		return false, fmt.Errorf("evaluate where: %w", err)
	}
	b, ok := val.(types.Bool)
	if !ok {
		return false, fmt.Errorf("evaluate where: %w", errNotBool)
	}
	return bool(b), nil
}

// render evaluates a body expression to JSON.
func (x *Expression) render(act *activation) ([]byte, error) {
	val, err := x.eval(act)
	if err != nil {
		return nil, fmt.Errorf("evaluate body: %w", err)
	}
	data, err := appendValue(make([]byte, 0, 256), val)
	if err != nil {
		return nil, fmt.Errorf("evaluate body: %w", err)
	}
	return data, nil
}
