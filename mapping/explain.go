package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
)

// Explanation is why an event is for an endpoint, or why not.
type Explanation struct {
	Endpoint *Endpoint
	Pattern  Pattern   // the first of the endpoint's that matches the type; empty: none does
	Stray    bool      // an event without a type, which nobody is subscribed to, and the first endpoint gets
	Wanted   bool      // Route has it among the targets
	Err      error     // that of the target
	Operands []Operand // what its where expression saw
}

// Operand is a part of an expression that reads the event, and its value as JSON.
type Operand struct {
	Text, Value string
}

// Explain says of each endpoint whether and why the event is for it. Its verdict is that of Router.Route.
func Explain(endpoints []*Endpoint, ev *Event) []Explanation {
	all := make([]Explanation, len(endpoints))
	act := activation{ev: ev}
	nobody := true
	for i, ep := range endpoints {
		all[i].Endpoint = ep
		if pattern, ok := ep.subscribed(ev.Type); ok {
			all[i].Pattern, nobody = pattern, false
			all[i].decide(&act)
		}
	}
	if nobody && ev.Type == "" && len(all) > 0 {
		all[0].Stray = true
		all[0].decide(&act)
	}
	return all
}

func (x *Explanation) decide(act *activation) {
	ok, err := x.Endpoint.wants(act)
	x.Wanted, x.Err = ok || err != nil, err
	if act.ev.Problem == "" {
		x.Operands = x.Endpoint.Where.operands(act)
	}
}

// Reason is the verdict's reason in words.
func (x *Explanation) Reason() string {
	where := x.Endpoint.Where
	switch {
	case x.Stray:
		return "the event has no type, and the first endpoint gets what nobody is subscribed to"
	case x.Pattern == "":
		return fmt.Sprintf("no pattern of events matches: %q", x.Endpoint.Events)
	case x.Err != nil:
		return fmt.Sprintf("events %q matches, but where fails: %s", x.Pattern, where)
	case where == nil:
		return fmt.Sprintf("events %q matches", x.Pattern)
	default:
		return fmt.Sprintf("events %q matches, where is %t: %s", x.Pattern, x.Wanted, where)
	}
}

// maxOperands bounds what is shown of a long expression.
const maxOperands = 10

// operands returns the parts of the expression that read payload, event or row, as far as they have a value. Of one with
// expansions nothing is told: what they stand for may be secret.
func (x *Expression) operands(act *activation) []Operand {
	if x == nil || x.source != x.text {
		return nil
	}
	env, err := celEnv()
	if err != nil {
		return nil
	}
	checked, issues := env.Compile(x.text)
	if issues.Err() != nil {
		return nil
	}
	var list []Operand
	native := checked.NativeRep()
	inside := map[int64]bool{} // parts of what was taken already
	ast.PreOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if inside[e.ID()] {
			markInside(e, inside)
			return
		}
		if !readsEvent(e) || len(list) == maxOperands {
			return
		}
		markInside(e, inside)
		text, err := cel.ExprToString(e, native.SourceInfo())
		if err != nil || slices.ContainsFunc(list, func(o Operand) bool { return o.Text == text }) {
			return
		}
		if value, ok := valueOf(env, text, act); ok {
			list = append(list, Operand{text, value})
		}
	}))
	return list
}

func markInside(e ast.Expr, inside map[int64]bool) {
	if e.Kind() == ast.SelectKind {
		inside[e.AsSelect().Operand().ID()] = true
	}
	if e.Kind() == ast.CallKind {
		for _, arg := range e.AsCall().Args() {
			inside[arg.ID()] = true
		}
	}
}

// readsEvent reports whether the expression is a field, or an element, of payload, event or row.
func readsEvent(e ast.Expr) bool {
	for fields := 0; ; fields++ {
		switch e.Kind() {
		case ast.IdentKind:
			return fields > 0 && slices.Contains([]string{"payload", "event", "row"}, e.AsIdent())
		case ast.SelectKind:
			if e.AsSelect().IsTestOnly() {
				return false
			}
			e = e.AsSelect().Operand()
		case ast.CallKind:
			call := e.AsCall()
			if call.FunctionName() != operators.Index || len(call.Args()) != 2 || call.Args()[1].Kind() != ast.LiteralKind {
				return false
			}
			e = call.Args()[0]
		default:
			return false
		}
	}
}

func valueOf(env *cel.Env, text string, act *activation) (string, bool) {
	part, issues := env.Compile(text)
	if issues.Err() != nil {
		return "", false
	}
	program, err := env.Program(part, cel.CostLimit(maxCost))
	if err != nil {
		return "", false
	}
	data, err := (&Expression{program: program}).render(act)
	return shorten(string(data)), err == nil
}

// eventKeys are the keys of ParseEvent.
var eventKeys = append([]string{"row", "table", "time"}, messageKeys...)

// ParseEvent makes an event of the JSON object {"id", "type", "key", "payload", "headers"} that a person wrote to try
// something out, as if it were a row of the table. What is missing but the type gets an example's value; time, table, and
// the columns of row may be given too.
func ParseEvent(data []byte, table Table, now time.Time) (*Event, error) {
	m, ok := messageObject(data)
	if !ok {
		return nil, errors.New(`expected a JSON object such as {"type": "order.created", "key": "42", "payload": {"total": 1}}`)
	}
	for name := range m {
		if !slices.Contains(eventKeys, name) {
			return nil, fmt.Errorf("unknown key %s%s", quoted(name), Suggest(name, slices.Sorted(slices.Values(eventKeys))))
		}
	}
	ev := &Event{Time: now, CommitTime: now, Table: table.String()}
	row := map[string]*string{}
	for _, part := range []struct {
		name string
		to   any
	}{{"time", &ev.Time}, {"table", &ev.Table}, {"row", &row}} {
		if raw := m[part.name]; raw != nil {
			if err := json.Unmarshal(raw, part.to); err != nil {
				return nil, fmt.Errorf("%s is not what was expected: RFC 3339 for time, text for table, an object of strings for row", part.name)
			}
			delete(m, part.name)
		}
	}
	for name, example := range map[string]string{"id": `"example"`, "payload": `{}`} {
		if m[name] == nil {
			m[name] = json.RawMessage(example)
		}
	}
	if problem := ev.setMessage(m); problem != "" {
		return nil, errors.New("the event " + problem)
	}
	ev.Time = ev.Time.UTC()
	ev.Problem = ev.Check()
	ev.setRow(table.Columns, row)
	return ev, nil
}

// setRow gives the event the columns that its parts would come from, and those given besides.
func (ev *Event) setRow(c Columns, more map[string]*string) {
	set := func(name string, value []byte) {
		if _, given := more[name]; !given && name != "" {
			ev.Columns, ev.Values = append(ev.Columns, name), append(ev.Values, value)
		}
	}
	set(c.ID, []byte(ev.ID))
	set(c.Type, []byte(ev.Type))
	set(c.Payload, ev.Payload)
	set(c.Headers, ev.Headers)
	set(c.Time, []byte(ev.Time.Format(time.RFC3339Nano)))
	if ev.Keyed {
		set(c.Key, []byte(ev.Key))
	} else {
		set(c.Key, nil)
	}
	for name, text := range more {
		var value []byte
		if text != nil {
			value = []byte(*text)
		}
		ev.Columns, ev.Values = append(ev.Columns, name), append(ev.Values, value)
	}
}
