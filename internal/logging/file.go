package logging

import (
	"fmt"
	"os"
	"path/filepath"
)

// FileName is the log's name in log.dir.
const FileName = "patroni.log"

// file is a log file with rotation: patroni.log, patroni.log.1, … Several
// processes of a node may write to it; one of them rotates, and the others
// notice that the name leads to another file.
type file struct {
	path    string
	mode    os.FileMode // 0: by the umask
	limit   int64       // bytes; 0: never rotate
	keep    int         // rotated files
	follows bool        // another process rotates

	f    *os.File
	size int64
}

func (l *file) open() error {
	if err := os.MkdirAll(filepath.Dir(l.path), 0o755); err != nil {
		return fmt.Errorf("log.dir: %w", err)
	}
	mode := l.mode
	if mode == 0 {
		mode = 0o666
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, mode)
	if err != nil {
		return fmt.Errorf("open the log: %w", err)
	}
	if l.mode != 0 {
		_ = f.Chmod(l.mode) // whatever the umask took away
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("open the log: %w", err)
	}
	l.f, l.size = f, info.Size()
	return nil
}

// Write writes one line.
func (l *file) Write(line []byte) (int, error) {
	if l.follows && l.f != nil && !l.current() {
		l.close()
	}
	if !l.follows && l.f != nil && l.limit > 0 && l.size+int64(len(line)) >= l.limit && l.keep > 0 {
		l.rotate()
	}
	if l.f == nil {
		if err := l.open(); err != nil {
			return 0, err
		}
	}
	n, err := l.f.Write(line)
	l.size += int64(n)
	return n, err
}

// current tells whether the open file is still the one of that name.
func (l *file) current() bool {
	a, err1 := l.f.Stat()
	b, err2 := os.Stat(l.path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

// rotate moves each file one number on; the last one is gone.
func (l *file) rotate() {
	l.close()
	name := func(i int) string {
		if i == 0 {
			return l.path
		}
		return fmt.Sprintf("%s.%d", l.path, i)
	}
	for i := l.keep - 1; i >= 0; i-- {
		_ = os.Rename(name(i), name(i+1)) // one that is not there yet is no error
	}
}

func (l *file) close() {
	if l.f != nil {
		l.f.Close()
		l.f = nil
	}
}
