package campaign

import (
	"fmt"
	"math/rand/v2"
	"time"

	"relay/cdc/cdctest"
	"relay/internal/pgtemp"
)

// Chaos throws faults at a system, at random but as its seed says.
type Chaos struct {
	*System
	Cluster *pgtemp.Cluster
	Proxy   *cdctest.Proxy
	Random  *rand.Rand
	Stall   time.Duration // longest of the wire

	moody []*Endpoint
}

// fault is a way to break something, as often as its weight says.
type fault struct {
	name   string
	weight int
	do     func(*Chaos) error
}

// points are the fail points of the relay that steady work comes by.
var points = []string{"answered", "parked", "settled", "read", "drained", "saved"}

// calm are the faults but restarts of Postgres, which hide an early confirmation: the server's own position falls back.
var calm = []fault{
	{"kill -9 relay", 6, func(c *Chaos) error {
		c.Kill()
		c.Relay = c.Spawn()
		return nil
	}},
	{"kill at a point", 5, (*Chaos).killAtPoint},
	{"stop relay softly", 2, func(c *Chaos) error {
		// One that was started a moment ago, and has not said anything, may be ended by the signal: its main has not begun.
		if err := c.Relay.Stop(30 * time.Second); err != nil && !(c.Relay.ExitCode() == -1 && c.Relay.Log() == "") {
			return fmt.Errorf("%w; it said:\n%s", err, c.Relay.Log())
		}
		c.Relay = c.Spawn()
		return nil
	}},
	{"cut the wire", 2, func(c *Chaos) error {
		from := time.Now()
		c.Proxy.Cut()
		c.Broken("cut", from, slackBefore, slackDatabase)
		return nil
	}},
	{"stall the wire", 2, func(c *Chaos) error {
		from := time.Now()
		c.Proxy.Stall()
		time.Sleep(time.Duration(c.Random.Int64N(int64(c.Stall)))) // the fault itself
		c.Proxy.Resume()
		c.Broken("stall", from, slackBefore, slackDatabase)
		return nil
	}},
	{"endpoint's mood", 12, (*Chaos).changeMood},
	{"reload", 3, (*Chaos).reload},
}

// rough are all of them.
var rough = append([]fault{
	{"crash Postgres", 2, func(c *Chaos) error { return c.restart(pgtemp.Crash) }},
	{"restart Postgres", 1, func(c *Chaos) error { return c.restart(pgtemp.Fast) }},
}, calm...)

// Run breaks something again and again until the time is over, and mends the endpoints then.
func (c *Chaos) Run(d time.Duration, faults []fault) error {
	total := 0
	for _, f := range faults {
		total += f.weight
	}
	for end := time.Now().Add(d); time.Now().Before(end); {
		time.Sleep(time.Duration(50+c.Random.IntN(600)) * time.Millisecond) // work goes on meanwhile
		if c.Relay.Ended() {
			return fmt.Errorf("relay ended by itself with %d; it said:\n%s", c.Relay.ExitCode(), c.Relay.Log())
		}
		n := c.Random.IntN(total)
		for _, f := range faults {
			if n -= f.weight; n < 0 {
				c.t.Log(time.Now().Format(stamp), f.name)
				if err := f.do(c); err != nil {
					return fmt.Errorf("%s: %w", f.name, err)
				}
				break
			}
		}
	}
	for _, e := range c.moody {
		if err := e.Set(Healthy); err != nil {
			return err
		}
	}
	return nil
}

func (c *Chaos) killAtPoint() error {
	point := fmt.Sprintf("%s:%d", points[c.Random.IntN(len(points))], 1+c.Random.IntN(200))
	c.Kill()
	began := time.Now()
	p := c.Spawn("RELAY_FAILPOINT=" + point)
	select {
	case <-p.ended:
		c.t.Log("killed at", point)
	case <-time.After(time.Duration(500+c.Random.IntN(1500)) * time.Millisecond): // it does not come by
		p.Kill()
	}
	if code := p.ExitCode(); code != -1 {
		return fmt.Errorf("relay ended with %d; it said:\n%s", code, p.Log())
	}
	c.Broken("kill at "+point, began, slackBefore, slackAfter)
	c.Relay = c.Spawn()
	return nil
}

func (c *Chaos) restart(mode pgtemp.Mode) error {
	from := time.Now()
	if err := c.Cluster.Shutdown(mode); err != nil {
		return err
	}
	time.Sleep(time.Duration(c.Random.IntN(1000)) * time.Millisecond) // the fault itself
	if err := c.Cluster.Launch(c.t.Context()); err != nil {
		return err
	}
	c.Broken("Postgres away", from, slackBefore, slackDatabase)
	return nil
}

var moods = []Mood{Healthy, Healthy, Healthy, Failing, Hanging, Refusing, Late, Cutting, Garbage}

func (c *Chaos) changeMood() error {
	e, m := c.moody[c.Random.IntN(len(c.moody))], moods[c.Random.IntN(len(moods))]
	c.t.Log(e.Name, "mood", m)
	return e.Set(m)
}

// reload changes every endpoint a little, and now and then writes a file that is not to be taken.
func (c *Chaos) reload() error {
	if c.Random.IntN(4) == 0 {
		c.write("source: {url: nonsense, slot: [}\n")
	} else {
		c.Extra = fmt.Sprintf("  concurrency: %d\n  headers: {X-Version: \"%d\"}\n", 1+c.Random.IntN(16), c.Random.IntN(1000))
		c.Write()
	}
	if c.Random.IntN(2) == 0 && time.Since(c.Relay.began) > time.Second { // before it listens for it, SIGHUP ends a process
		c.Reload() // at once, rather than when the change is seen
	}
	if c.Random.IntN(2) == 0 {
		time.Sleep(300 * time.Millisecond) // long enough to be seen, or not
	}
	c.Write()
	return nil
}
