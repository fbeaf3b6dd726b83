package hub

import (
	"syscall"
	"unsafe"
)

// sysRead and sysWrite are read(2) and write(2), without the word to Go's
// scheduler that they may take long: on a descriptor that does not block they take
// microseconds, for which the processor is kept. That word wakes the runtime's
// monitoring thread each time the server was idle before: a seventh of what a
// message costs when they come one by one.
func sysRead(fd int, b []byte) (int, error)  { return call(syscall.SYS_READ, fd, b) }
func sysWrite(fd int, b []byte) (int, error) { return call(syscall.SYS_WRITE, fd, b) }

func call(trap uintptr, fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
