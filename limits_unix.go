//go:build unix

package main

import "syscall"

// openFiles is how many files this process may have open. The Go runtime has
// raised it to the hard limit at the start.
func openFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur > 1<<24 {
		return 1 << 24
	}
	return int(limit.Cur)
}
