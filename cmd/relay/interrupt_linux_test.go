package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// terminal opens a terminal: what a person types is written to keys, what he sees is read from it.
func terminal(t *testing.T) (keys, tty *os.File) {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = keys.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(keys.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(keys.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tty.Close() })
	return keys, tty
}

// endsInterrupted wants a process to end, by itself and before long, and to say why.
func endsInterrupted(t *testing.T, cmd *exec.Cmd, said func() string) {
	t.Helper()
	ended := make(chan struct{}) // closed when it has
	go func() {
		_ = cmd.Wait() // the exit status is looked at below
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-ended
		require.Fail(t, "it goes on waiting for input")
	}
	require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), said())
	require.Contains(t, said(), "interrupted, nothing was done")
}

func TestInterrupt_EndsAQuestion(t *testing.T) {
	t.Parallel()
	path, url := databaseConfig(t, "")
	require.Zero(t, relayOut(t, "setup", "-c", path).status)
	r := &running{t: t, URL: url}
	r.exec(r.connect(), `INSERT INTO outbox (type, payload) VALUES ('t', '1'), ('t', '2')`)
	for _, args := range [][]string{{"teardown"}, {"replay", "--endpoint", "billing", "--since", "1h"}} {
		keys, tty := terminal(t)
		cmd := relayCommand(t, append(args, "-c", path)...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		require.NoError(t, cmd.Start())
		var seen syncBuffer
		go func() {
			buf := make([]byte, 1024)
			for {
				n, err := keys.Read(buf)
				if err != nil {
					return
				}
				_, _ = seen.Write(buf[:n])
			}
		}()
		require.Eventually(t, func() bool { return strings.Contains(seen.String(), "? [y/N] ") }, time.Minute, 10*time.Millisecond, "it asks")
		_, err := keys.WriteString("\x03") // Ctrl-C
		require.NoError(t, err)
		endsInterrupted(t, cmd, func() string {
			require.Eventually(t, func() bool { return strings.Contains(seen.String(), "relay: ") }, time.Minute, 10*time.Millisecond, args)
			return seen.String()
		})
	}
}

func TestInterrupt_EndsTheReadingOfAnEvent(t *testing.T) {
	t.Parallel()
	path := configFile(t, "source: {url: \"postgres://nobody@127.0.0.1:1/none\"}\nendpoints:\n  a: {url: \"http://127.0.0.1:1\"}\n")
	cmd := relayCommand(t, "explain", "--event", "-", "-c", path)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = in.Write(bytes.Repeat([]byte(" "), 1<<20)) // more than a pipe holds: it is read
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(os.Interrupt))
	endsInterrupted(t, cmd, errs.String)
}
