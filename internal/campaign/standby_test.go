package campaign

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"relay/internal/pgtemp/pgtest"
)

func TestRelay_StandsByForAnotherAndTakesOverWhenThatIsKilled(t *testing.T) {
	t.Parallel()
	s := NewSystem(t, pgtest.Database(t))
	e := s.Subscribe("all", "", nil)
	down := s.Subscribe("down", "", nil)
	s.Setup()
	require.NoError(t, down.Set(Failing))
	s.Start()
	first, firstAdmin := s.Relay, s.admin
	s.admin = freeAddress(t)
	s.Write() // the first one refuses the change of its address, and lives on
	second := s.Spawn()
	s.Await(20*time.Second, "the second one stands by, and says so", func() bool {
		code, text := second.Get("/readyz")
		return code == http.StatusOK && strings.Contains(text, "standing by")
	})
	stop := s.writers(5, 2, 10*time.Millisecond)
	s.Await(20*time.Second, "the first one delivers", func() bool { return e.Good() > 200 })
	code, text := first.Get("/readyz")
	require.Equal(t, http.StatusOK, code, text)
	require.Contains(t, text, "streaming", "the first one, at %s", firstAdmin)
	_, text = second.Get("/api/v1/status")
	require.NotContains(t, text, "delivering")

	s.Kill()
	began, good := time.Now(), e.Good()
	s.Relay = second
	s.Await(20*time.Second, "the second one delivers", func() bool { return e.Good() > good+50 })
	t.Log("took over within", time.Since(began))
	require.NoError(t, down.Set(Healthy))
	stop()
	s.Drained(time.Minute)
	s.Stop()
	s.Verdict()
}
