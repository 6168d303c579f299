package delivery

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"relay/mapping"
)

var breakerConfig = mapping.Breaker{
	Failures: 5, Ratio: 0.5, Requests: 20, Window: 60 * time.Second, Open: 15 * time.Second, MaxOpen: time.Minute, Probes: 1,
}

// attemptWith makes an attempt that tells e, and fails the test if the breaker does not grant it.
func attemptWith(t *testing.T, b *Breaker, e Effect) {
	t.Helper()
	done, ok := b.Allow()
	require.True(t, ok, "refused, the breaker is %s", b.Status().State)
	done(e)
}

func refused(t *testing.T, b *Breaker) {
	t.Helper()
	_, ok := b.Allow()
	require.False(t, ok, "granted, the breaker is %s", b.Status().State)
}

func TestBreaker_CountsFailuresInARowHoweverSlowTheyCome(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(breakerConfig, 15*time.Second, BreakerStatus{}, nil)
		for range 4 {
			attemptWith(t, b, EffectFailure)
			time.Sleep(time.Hour) // far beyond the window
		}
		require.Equal(t, BreakerClosed, b.Status().State)
		attemptWith(t, b, EffectFailure)
		require.Equal(t, BreakerOpen, b.Status().State)
	})
}

func TestBreaker_SeesFailuresThatTakeAsLongAsTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := breakerConfig
		cfg.Window, cfg.Failures = time.Second, 1000 // a window shorter than an attempt; only the ratio can open it
		b := NewBreaker(cfg, 15*time.Second, BreakerStatus{}, nil)
		var attempts sync.WaitGroup
		for range 20 {
			attempts.Go(func() {
				done, _ := b.Allow()
				time.Sleep(15 * time.Second)
				done(EffectFailure)
			})
		}
		attempts.Wait()
		require.Equal(t, BreakerOpen, b.Status().State)
	})
}

func TestBreaker_LeavesAnswersThatDoNotCountOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(breakerConfig, 15*time.Second, BreakerStatus{}, nil)
		for range 1000 {
			attemptWith(t, b, EffectAlive) // 404s
		}
		require.Equal(t, BreakerClosed, b.Status().State)
		for range 5 { // they are no successes either
			attemptWith(t, b, EffectAlive)
			attemptWith(t, b, EffectFailure)
		}
		require.Equal(t, BreakerOpen, b.Status().State)
	})
}

func TestBreaker_DoesNotTakeAttemptsUnderWayForSuccesses(t *testing.T) {
	t.Parallel()
	cfg := breakerConfig
	cfg.Failures, cfg.Requests = 0, 4
	b := NewBreaker(cfg, 15*time.Second, BreakerStatus{}, nil)
	for range 100 {
		_, ok := b.Allow() // still under way
		require.True(t, ok)
	}
	for range 4 {
		attemptWith(t, b, EffectFailure)
	}
	require.Equal(t, BreakerOpen, b.Status().State)
}

func TestBreaker_DoublesItsOpenTimeWhileProbesFail(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(breakerConfig, 15*time.Second, BreakerStatus{}, nil)
		for range 2 {
			for range 5 {
				attemptWith(t, b, EffectFailure)
			}
			for _, open := range []time.Duration{15, 30, 60, 60} {
				at := b.RetryAt()
				require.Equal(t, open*time.Second+1, time.Until(at))
				time.Sleep(time.Until(at) - 1)
				refused(t, b)
				time.Sleep(time.Nanosecond)
				attemptWith(t, b, EffectFailure)
			}
			time.Sleep(time.Until(b.RetryAt()))
			attemptWith(t, b, EffectSuccess) // and from the start again
			require.Equal(t, BreakerStatus{}, b.Status())
		}
	})
}

func TestBreaker_IsNeverHalfOpenForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(breakerConfig, 15*time.Second, BreakerStatus{State: BreakerHalfOpen, OpenFor: time.Minute}, nil)
		time.Sleep(time.Until(b.RetryAt()))
		for range 100 { // probes that the relay itself ended leave room for the next
			probe, ok := b.Allow()
			require.True(t, ok)
			refused(t, b)
			probe(EffectNone)
			probe(EffectFailure) // too late
			require.Equal(t, BreakerHalfOpen, b.Status().State)
		}
		attemptWith(t, b, EffectAlive) // a 404 shows a live endpoint
		require.Equal(t, BreakerClosed, b.Status().State)
	})
}

func TestBreaker_IgnoresResultsFromBeforeItOpened(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := NewBreaker(breakerConfig, 15*time.Second, BreakerStatus{}, nil)
		var early []func(Effect)
		for range 10 {
			done, _ := b.Allow()
			early = append(early, done)
		}
		for range 5 {
			attemptWith(t, b, EffectFailure)
		}
		time.Sleep(time.Until(b.RetryAt()))
		probe, ok := b.Allow()
		require.True(t, ok)
		for i, done := range early {
			done([]Effect{EffectSuccess, EffectFailure}[i%2])
		}
		require.Equal(t, BreakerHalfOpen, b.Status().State)
		refused(t, b)
		probe(EffectSuccess)
		require.Equal(t, BreakerClosed, b.Status().State)
	})
}

func TestBreaker_StartsAsItStopped(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		saved := BreakerStatus{State: BreakerOpen, RetryAt: time.Now().Add(20 * time.Second), OpenFor: 30 * time.Second}
		b := NewBreaker(breakerConfig, 15*time.Second, saved, func(BreakerStatus) {})
		refused(t, b)
		require.Equal(t, BreakerOpen, b.Status().State)
		require.Equal(t, 20*time.Second+1, time.Until(b.RetryAt()))
		time.Sleep(time.Until(b.RetryAt()))
		attemptWith(t, b, EffectFailure)
		require.Equal(t, time.Minute+1, time.Until(b.RetryAt()), "it goes on doubling")

		saved.RetryAt = time.Now().Add(-time.Hour)
		b = NewBreaker(breakerConfig, 15*time.Second, saved, nil)
		time.Sleep(time.Until(b.RetryAt()))
		attemptWith(t, b, EffectSuccess)

		saved.RetryAt = time.Now().Add(1000 * time.Hour) // the clock was set back
		b = NewBreaker(breakerConfig, 15*time.Second, saved, nil)
		require.LessOrEqual(t, time.Until(b.RetryAt()), time.Minute)
	})
}

func TestBreaker_TellsChangesInOrderWithNoLockHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var b *Breaker
		var told []BreakerState
		b = NewBreaker(breakerConfig, 15*time.Second, BreakerStatus{}, func(s BreakerStatus) {
			told = append(told, s.State)
			require.Equal(t, s, b.Status()) // would deadlock under a lock
		})
		for range 5 {
			attemptWith(t, b, EffectFailure)
		}
		time.Sleep(time.Until(b.RetryAt()))
		attemptWith(t, b, EffectFailure)
		time.Sleep(time.Until(b.RetryAt()))
		attemptWith(t, b, EffectSuccess)
		require.Equal(t, []BreakerState{
			BreakerOpen, BreakerHalfOpen, BreakerOpen, BreakerHalfOpen, BreakerClosed,
		}, told)
	})
}

func TestBreaker_IsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	cfg := breakerConfig
	cfg.Open, cfg.MaxOpen = time.Millisecond, 2*time.Millisecond
	var mu sync.Mutex
	last := BreakerStatus{}
	b := NewBreaker(cfg, 0, BreakerStatus{}, func(s BreakerStatus) {
		mu.Lock()
		defer mu.Unlock()
		last = s
	})
	var attempts sync.WaitGroup
	for i := range 8 {
		attempts.Go(func() {
			for n := range 2000 {
				if done, ok := b.Allow(); ok {
					done([]Effect{EffectSuccess, EffectFailure, EffectNone, EffectAlive}[(n/50+i)%4])
				}
			}
		})
	}
	attempts.Wait()
	now := b.Status()
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, now, last)
}

func BenchmarkBreaker(b *testing.B) {
	br := NewBreaker(breakerConfig, 15*time.Second, BreakerStatus{}, nil)
	b.ReportAllocs()
	for b.Loop() {
		done, _ := br.Allow()
		done(EffectSuccess)
	}
}
