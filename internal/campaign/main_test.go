package campaign

import (
	"os"
	"testing"

	"relay/internal/pgtemp/pgtest"
)

func TestMain(m *testing.M) {
	code := pgtest.Run(m)
	Cleanup()
	os.Exit(code)
}
