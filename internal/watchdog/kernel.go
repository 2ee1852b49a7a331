//go:build linux

package watchdog

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Open opens the device of some settings by their driver.
func Open(s Settings) (Device, error) {
	if s.Driver == DriverTesting {
		return openPipe(s.Device)
	}
	return openKernel(s.Device)
}

// Problem tells why a node with these settings must not lead, "" when it may: the
// device is required, and the margins leave no room or it could not be opened.
// Opening it to find out would start its timer.
func Problem(s Settings, ttl time.Duration) string {
	if s.Mode != Required {
		return ""
	}
	if text := s.noRoom(ttl); text != "" {
		return text
	}
	if err := unix.Access(s.Device, unix.W_OK); err != nil {
		return fmt.Sprintf("watchdog.mode is required, and %v; the device must be there and writable for the user that tamada runs as",
			&os.PathError{Op: "open", Path: s.Device, Err: err})
	}
	return ""
}

// file is an open device. System calls go to the descriptor directly: os.File
// might put a goroutine to sleep where the owner must not.
type file struct {
	fd   int
	path string
}

func openFile(path string) (file, error) {
	// Without O_NONBLOCK the opening of a pipe that nobody reads would hang, and
	// with it the guardian.
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return file{}, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return file{fd, path}, nil
}

func (f file) write(text string) error {
	n, err := unix.Write(f.fd, []byte(text))
	if err == nil && n < len(text) {
		err = unix.EAGAIN
	}
	if err != nil {
		return &os.PathError{Op: "write", Path: f.path, Err: err}
	}
	return nil
}

// Keepalive puts the reset off by one time-out.
func (f file) Keepalive() error { return f.write("1") }

// Close: a V right before the close stops the timer ("magic close").
func (f file) Close(disable bool) error {
	var err error
	if disable {
		err = f.write("V")
	}
	if cerr := unix.Close(f.fd); err == nil && cerr != nil {
		err = &os.PathError{Op: "close", Path: f.path, Err: cerr}
	}
	return err
}

// kernelDevice is a device of the kernel (Documentation/watchdog/watchdog-api).
type kernelDevice struct {
	file
	options uint32
}

func openKernel(path string) (Device, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	info, err := unix.IoctlGetWatchdogInfo(f.fd)
	if err != nil {
		// Nothing is written to what may be anybody's file.
		_ = f.Close(false)
		return nil, fmt.Errorf("%s does not answer as a watchdog device: %w", path, err)
	}
	return &kernelDevice{f, info.Options}, nil
}

func (d *kernelDevice) CanSetTimeout() bool { return d.options&unix.WDIOF_SETTIMEOUT != 0 }
func (d *kernelDevice) CanDisable() bool    { return d.options&unix.WDIOF_MAGICCLOSE != 0 }

func (d *kernelDevice) SetTimeout(t time.Duration) error {
	return os.NewSyscallError("ioctl WDIOC_SETTIMEOUT", unix.IoctlSetPointerInt(d.fd, unix.WDIOC_SETTIMEOUT, seconds(t)))
}

func (d *kernelDevice) Timeout() (time.Duration, error) {
	n, err := unix.IoctlGetInt(d.fd, unix.WDIOC_GETTIMEOUT)
	return time.Duration(n) * time.Second, os.NewSyscallError("ioctl WDIOC_GETTIMEOUT", err)
}

// pipeDevice is the driver for tests: what the kernel would be told is written
// to a named pipe.
type pipeDevice struct {
	file
	timeout time.Duration
}

func openPipe(path string) (Device, error) {
	f, err := openFile(path)
	if err != nil {
		return nil, err
	}
	return &pipeDevice{file: f, timeout: 60 * time.Second}, nil
}

func (d *pipeDevice) CanSetTimeout() bool { return true }
func (d *pipeDevice) CanDisable() bool    { return true }

func (d *pipeDevice) SetTimeout(t time.Duration) error {
	if err := d.write(fmt.Sprintf("Ctimeout=%d\n", seconds(t))); err != nil {
		return err
	}
	d.timeout = t
	return nil
}

func (d *pipeDevice) Timeout() (time.Duration, error) { return d.timeout, nil }
