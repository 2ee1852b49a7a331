package ledger

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"tamada/internal/ha"
)

const (
	// queued is how many entries may wait for the disk.
	queued = 128
	// syncAfter is how long what was written may be lost by a power failure. Syncing
	// at once would make a promotion wait for its own record's journal commit.
	syncAfter = time.Second
	// patience is how long Close waits for a disk that does not answer.
	patience = 500 * time.Millisecond
)

// Writer appends to the ledger of one node. Add may be called by many goroutines
// and never waits.
type Writer struct {
	dir, node string
	log       *slog.Logger
	queue     chan *Entry
	dropped   atomic.Int64
	closing   chan struct{}
	closed    chan struct{}
	once      sync.Once

	// The following belong to the goroutine that writes.
	f      *os.File
	number uint64
	size   int64
	dirty  bool
	failed bool // the last write did; the problem was logged
}

// Open begins to write the ledger of a node in its state folder. It does not
// fail: a node must not stand still because its ledger cannot be written. What is
// wrong is logged, and every entry is another try.
func Open(stateDir, node string, log *slog.Logger) *Writer {
	w := &Writer{dir: Dir(stateDir), node: node, log: log, queue: make(chan *Entry, queued), closing: make(chan struct{}), closed: make(chan struct{})}
	go w.run()
	return w
}

// Add appends a record, made at a time of the wall clock and of CLOCK_BOOTTIME.
// When the disk is too slow it is dropped, and the ledger says how many were.
func (w *Writer) Add(at time.Time, boot time.Duration, r ha.Record) {
	e := &Entry{At: at, Boot: float64(boot.Milliseconds()) / 1000, Node: w.node, Record: r}
	select {
	case w.queue <- e:
	default:
		w.dropped.Add(1)
	}
}

// Close writes what waits, but does not wait long for it.
func (w *Writer) Close() {
	w.once.Do(func() { close(w.closing) })
	select {
	case <-w.closed:
	case <-time.After(patience):
	}
}

func (w *Writer) run() {
	defer close(w.closed)
	timer := time.NewTimer(syncAfter)
	timer.Stop()
	for {
		select {
		case e := <-w.queue:
			w.write(e)
			if !w.dirty {
				w.dirty = true
				timer.Reset(syncAfter)
			}
		case <-timer.C:
			w.sync()
		case <-w.closing:
			w.drain()
			return
		}
	}
}

func (w *Writer) drain() {
	for {
		select {
		case e := <-w.queue:
			w.write(e)
		default:
			w.sync()
			if w.f != nil {
				w.f.Close()
			}
			return
		}
	}
}

func (w *Writer) sync() {
	w.dirty = false
	if w.f != nil {
		_ = w.f.Sync() // a ledger that lost its end is still one
	}
}

// write appends an entry, after a note about those that were dropped before it.
func (w *Writer) write(e *Entry) {
	if n := w.dropped.Swap(0); n > 0 {
		note := &Entry{At: e.At, Boot: e.Boot, Node: w.node, Record: ha.Record{Kind: ha.RecordLedger, What: "dropped", Repeats: int(n),
			Why: "the disk was too slow, or could not be written"}}
		if w.append(note) != nil {
			w.dropped.Add(n)
		}
	}
	err := w.append(e)
	switch {
	case err != nil:
		w.dropped.Add(1)
		if !w.failed {
			w.log.Warn("the ledger cannot be written, `tamada why` will not know of this time", "error", err)
		}
	case w.failed:
		w.log.Info("the ledger can be written again")
	}
	w.failed = err != nil
}

func (w *Writer) append(e *Entry) error {
	line, err := e.encode()
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	line = append(line, '\n')
	if w.f == nil {
		err = w.resume()
	}
	if err == nil && w.size+int64(len(line)) > fileSize {
		err = w.rotate()
	}
	if err != nil {
		return err
	}
	n, err := w.f.Write(line)
	w.size += int64(n)
	if err != nil {
		w.f.Close()
		w.f = nil // what is torn now is mended when it is opened again
		return fmt.Errorf("ledger: %w", err)
	}
	return nil
}

// resume opens the youngest file. A line that a predecessor did not finish is
// ended, so that the next one is not glued to it.
func (w *Writer) resume() error {
	if err := os.MkdirAll(w.dir, 0o700); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	list, err := files(w.dir)
	if err != nil {
		return err
	}
	youngest := fileOf(w.dir, 1)
	if len(list) > 0 {
		youngest = list[len(list)-1]
	}
	if err := w.open(youngest); err != nil {
		return err
	}
	if w.size == 0 {
		return nil
	}
	last := make([]byte, 1)
	if _, err := w.f.ReadAt(last, w.size-1); err == nil && last[0] != '\n' {
		n, err := w.f.Write([]byte{'\n'})
		w.size += int64(n)
		return err
	}
	return nil
}

func (w *Writer) open(at file) error {
	f, err := os.OpenFile(at.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	st, err := f.Stat()
	if err != nil {
		f.Close()
		return fmt.Errorf("ledger: %w", err)
	}
	w.f, w.number, w.size = f, at.number, st.Size()
	return nil
}

// rotate begins the next file and removes the oldest ones. Nobody needs them:
// they are history that is older than 14 MB of younger one.
func (w *Writer) rotate() error {
	w.sync()
	w.f.Close()
	w.f = nil
	if err := w.open(fileOf(w.dir, w.number+1)); err != nil {
		return err
	}
	list, err := files(w.dir)
	if err != nil {
		return err
	}
	for len(list) > maxFiles {
		if err := os.Remove(list[0].path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("ledger: %w", err)
		}
		list = list[1:]
	}
	return nil
}
