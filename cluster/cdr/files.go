package cdr

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sort"

	"holdline/fsm/pb"
)

// files are PREFIX-NUMBER.jsonl in one directory, NUMBER being that of the first record in 20 digits: sorted by name they are in order. Only
// the last one is written to.
type files struct {
	dir, prefix string
	log         *slog.Logger

	file  *os.File // the last one; nil: the next record begins one
	size  int64    // of its whole lines
	dirty bool     // what follows them must be cut off first
	last  uint64   // number of the last record
	buf   bytes.Buffer
}

func openFiles(dir, prefix string, log *slog.Logger) (*files, error) {
	f := &files{dir: dir, prefix: prefix, log: log}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make CDR directory: %w", err)
	}
	names, err := f.names()
	if err != nil {
		return nil, err
	}
	for i := len(names) - 1; i >= 0 && f.last == 0; i-- {
		if err := f.resume(names[i]); err != nil {
			return nil, fmt.Errorf("read position in CDR file: %w", err)
		}
	}
	return f, nil
}

func (f *files) names() ([]string, error) {
	names, err := filepath.Glob(filepath.Join(f.dir, f.prefix+"-"+"[0-9]*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("list CDR files: %w", err)
	}
	sort.Strings(names)
	return names, nil
}

// resume takes the position from a file. One without a whole record is removed: a crash came between making and filling it.
func (f *files) resume(name string) error {
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	number, size, err := lastRecord(file)
	if err == nil && number == 0 {
		f.log.Warn("removing a CDR file without a whole record", "file", name)
		return errors.Join(file.Close(), os.Remove(name))
	}
	if err == nil {
		err = cut(file, size, f.log)
	}
	if err == nil {
		err = file.Sync() // what a process that is gone wrote counts as written from here on
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size, f.last = file, size, number
	return nil
}

func cut(file *os.File, size int64, log *slog.Logger) error {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || end == size {
		return err
	}
	log.Warn("cutting off a CDR that was not written to its end; it is written again", "file", file.Name(), "bytes", end-size)
	return file.Truncate(size)
}

// tail is how much of a file is looked at first for its last record.
const tail = 64 << 10

// lastRecord finds the last whole line that is a record: its number and where it ends; 0 when there is none.
func lastRecord(file *os.File) (number uint64, end int64, err error) {
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, 0, err
	}
	for window := int64(tail); ; window *= 4 {
		from := max(0, size-window)
		b := make([]byte, size-from)
		if _, err := io.ReadFull(io.NewSectionReader(file, from, size-from), b); err != nil {
			return 0, 0, err
		}
		for {
			stop := bytes.LastIndexByte(b, '\n')
			if stop < 0 {
				break
			}
			start := bytes.LastIndexByte(b[:stop], '\n') + 1
			if start == 0 && from > 0 {
				break // its beginning lies before the window
			}
			if n, ok := numberOf(b[start:stop]); ok {
				return n, from + int64(stop) + 1, nil
			}
			b = b[:start]
		}
		if from == 0 {
			return 0, 0, nil
		}
	}
}

// write appends records. After an error none of them counts, and the next write cuts off what there is of them.
func (f *files) write(rows []*pb.Cdr, l Limits) error {
	for len(rows) > 0 {
		if f.dirty {
			if err := f.file.Truncate(f.size); err != nil {
				return fmt.Errorf("cut off what was not written to its end: %w", err)
			}
			f.dirty = false
		}
		if f.file != nil && f.size >= l.FileBytes {
			if err := f.close(); err != nil {
				return err
			}
		}
		if f.file == nil {
			if err := f.begin(rows[0].Number, l.Files); err != nil {
				return err
			}
		}
		f.buf.Reset()
		n := 0
		for ; n < len(rows) && (n == 0 || f.size+int64(f.buf.Len()) < l.FileBytes); n++ {
			if err := appendLine(&f.buf, rows[n]); err != nil {
				return fmt.Errorf("encode CDR %d: %w", rows[n].Number, err)
			}
		}
		if _, err := f.file.WriteAt(f.buf.Bytes(), f.size); err != nil {
			f.dirty = true
			return fmt.Errorf("write CDRs: %w", err)
		}
		f.size += int64(f.buf.Len())
		f.last = rows[n-1].Number
		rows = rows[n:]
	}
	return nil
}

// begin makes the file of the records from number on, and removes the oldest beyond keep.
func (f *files) begin(number uint64, keep int) error {
	name := filepath.Join(f.dir, fmt.Sprintf("%s-%020d.jsonl", f.prefix, number))
	file, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("make CDR file: %w", err)
	}
	if err := syncDir(f.dir); err != nil {
		return errors.Join(err, file.Close())
	}
	f.file, f.size = file, 0
	names, err := f.names()
	if err != nil {
		return err
	}
	for keep > 0 && len(names) > keep {
		if err := os.Remove(names[0]); err != nil {
			return fmt.Errorf("remove old CDR file: %w", err)
		}
		names = names[1:]
	}
	return nil
}

func (f *files) sync() error {
	if f.file == nil {
		return nil
	}
	return f.file.Sync()
}

func (f *files) close() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.file.Sync(), f.file.Close())
	f.file = nil
	if err != nil {
		return fmt.Errorf("close CDR file: %w", err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync CDR directory: %w", err)
	}
	return errors.Join(d.Sync(), d.Close())
}
