package cdc_test

import (
	"os"
	"testing"

	"relay/internal/pgtemp/pgtest"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Run(m)) }
