//go:build !linux

package main

import "syscall"

// childAttr keeps the terminal's Ctrl-C from the demo's relay, which the demo stops itself.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
