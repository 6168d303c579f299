package delivery

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"relay/mapping"
)

// breakerModel is what a breaker should do, in the simplest way.
type breakerModel struct {
	cfg     mapping.Breaker
	state   BreakerState
	round   int
	since   time.Time // when the round began
	retryAt time.Time
	openFor time.Duration
	row     int // failures in a row
	results []modelResult
	out     int // probes granted whose result still counts
	well    int // probes that went well
}

type modelResult struct {
	bucket int
	failed bool
}

type modelGrant struct {
	round, bucket int
	done          func(Effect)
}

func (m *breakerModel) enter(s BreakerState) {
	*m = breakerModel{cfg: m.cfg, state: s, round: m.round + 1, since: time.Now(), openFor: m.openFor}
}

func (m *breakerModel) bucket() int { return int(time.Since(m.since) / (m.cfg.Window / 10)) }

func (m *breakerModel) tick() {
	if m.state == BreakerOpen && !time.Now().Before(m.retryAt) {
		m.enter(BreakerHalfOpen)
	}
}

func (m *breakerModel) allow() bool {
	m.tick()
	if m.state == BreakerOpen || m.state == BreakerHalfOpen && m.out+m.well >= m.cfg.Probes {
		return false
	}
	if m.state == BreakerHalfOpen {
		m.out++
	}
	return true
}

func (m *breakerModel) done(g modelGrant, e Effect) {
	if g.round != m.round {
		return
	}
	if m.state == BreakerHalfOpen {
		m.probed(e)
		return
	}
	switch e {
	case EffectSuccess:
		m.row = 0
	case EffectFailure:
		m.row++
	default:
		return
	}
	m.results = append(m.results, modelResult{g.bucket, e == EffectFailure})
	settled, failed := 0, 0
	for _, r := range m.results {
		if r.bucket > m.bucket()-10 {
			settled++
			if r.failed {
				failed++
			}
		}
	}
	rate := settled >= m.cfg.Requests && float64(failed) >= m.cfg.Ratio*float64(settled)
	if e == EffectFailure && (m.row >= m.cfg.Failures || rate) {
		m.open(m.cfg.Open)
	}
}

func (m *breakerModel) probed(e Effect) {
	m.out--
	switch e {
	case EffectFailure:
		m.open(min(2*m.openFor, m.cfg.MaxOpen))
	case EffectSuccess, EffectAlive:
		if m.well++; m.well == m.cfg.Probes {
			m.enter(BreakerClosed)
		}
	}
}

func (m *breakerModel) open(d time.Duration) {
	m.enter(BreakerOpen)
	m.openFor, m.retryAt = d, time.Now().Add(d+1)
}

func TestBreaker_DoesWhatTheModelDoes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, checkBreaker) // without t.Deadline, which a bubble does not have
	})
}

func checkBreaker(t *rapid.T) {
	m := &breakerModel{since: time.Now(), cfg: mapping.Breaker{
		Failures: rapid.IntRange(1, 6).Draw(t, "failures"),
		Ratio:    rapid.SampledFrom([]float64{0.3, 0.5, 1}).Draw(t, "ratio"),
		Requests: rapid.IntRange(1, 12).Draw(t, "requests"),
		Window:   60 * time.Second,
		Open:     15 * time.Second,
		MaxOpen:  rapid.SampledFrom([]time.Duration{15 * time.Second, time.Minute, 100 * time.Second}).Draw(t, "max_open"),
		Probes:   rapid.IntRange(1, 3).Draw(t, "probes"),
	}}
	var last BreakerStatus
	b := NewBreaker(m.cfg, 15*time.Second, BreakerStatus{}, func(s BreakerStatus) { last = s })
	var grants []modelGrant
	t.Repeat(map[string]func(*rapid.T){
		"": func(t *rapid.T) {
			m.tick()
			s := b.Status()
			require.Equal(t, m.state, s.State)
			require.True(t, m.retryAt.Equal(s.RetryAt), "retry at %s, want %s", s.RetryAt, m.retryAt)
			require.Equal(t, m.retryAt.IsZero(), b.RetryAt().IsZero())
			require.Equal(t, s, last)
			if s.State != BreakerClosed {
				require.Equal(t, m.openFor, s.OpenFor)
			}
		},
		"allow": func(t *rapid.T) {
			want := m.allow()
			done, ok := b.Allow()
			require.Equal(t, want, ok)
			if ok {
				grants = append(grants, modelGrant{m.round, m.bucket(), done})
			}
		},
		"done": func(t *rapid.T) {
			if len(grants) == 0 {
				t.Skip("nothing under way")
			}
			i := rapid.IntRange(0, len(grants)-1).Draw(t, "which")
			e := rapid.SampledFrom([]Effect{EffectNone, EffectSuccess, EffectFailure, EffectFailure, EffectAlive}).Draw(t, "effect")
			m.tick()
			m.done(grants[i], e)
			grants[i].done(e)
			grants[i].done(EffectFailure) // counts for nothing
			grants = append(grants[:i], grants[i+1:]...)
		},
		"wait": func(t *rapid.T) {
			time.Sleep(time.Duration(rapid.IntRange(1, 40_000).Draw(t, "ms")) * time.Millisecond)
		},
		"wait until due": func(*rapid.T) {
			if at := b.RetryAt(); !at.IsZero() {
				time.Sleep(time.Until(at))
			}
		},
	})
}
