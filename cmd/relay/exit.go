package main

import (
	"errors"
	"fmt"

	"relay/mapping"
)

// The exit statuses.
const (
	exitDone   = 0
	exitFailed = 1
	exitUsage  = 2 // the command line or the configuration is wrong: trying again will not help
)

// errDeclined is a no to the question a command asked.
var errDeclined = errors.New("not done, as you did not say yes")

// errInterrupted ends a command that was interrupted while it waited for input.
var errInterrupted = errors.New("interrupted, nothing was done")

// errReported ends a command that has said itself what is wrong.
var errReported = errors.New("reported")

// usageError is a mistake on the command line or in the configuration.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// exitStatus is the status to exit with. Before a command began, every error is about the command line.
func exitStatus(err error, began bool) int {
	var usage usageError
	var config mapping.Errors
	switch {
	case err == nil:
		return exitDone
	case !began, errors.As(err, &usage), errors.As(err, &config):
		return exitUsage
	default:
		return exitFailed
	}
}
