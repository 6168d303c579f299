package main

import "syscall"

// childAttr keeps the terminal's Ctrl-C from the demo's relay, which the demo stops itself, and has the system end it if
// the demo is killed.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
