package vip

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// The protocol on guard.sock: JSON, one message a line. A connection begins with hello; the one that says it is the
// core gets events and must keep beating.
const (
	ipcVersion = 1
	ipcMaxLine = 1 << 20

	opHello     = "hello"
	opConfigure = "configure"
	opRelease   = "release"
	opForget    = "forget"
	opStatus    = "status"
	opBye       = "bye"
)

// request goes to the guard. Each one is answered by a reply with its ID.
type request struct {
	ID      uint64  `json:"id"`
	Op      string  `json:"op"`
	Version int     `json:"version,omitempty"` // hello
	Core    bool    `json:"core,omitempty"`    // hello
	Config  *Config `json:"config,omitempty"`  // configure
	Group   uint32  `json:"group,omitempty"`   // release
	To      uint32  `json:"to,omitempty"`      // release
}

// message comes from the guard: the reply to a request, or exactly one event.
type message struct {
	ID     uint64  `json:"id,omitempty"`
	Error  string  `json:"error,omitempty"`
	Status *Status `json:"status,omitempty"`

	Acquired    *Acquired    `json:"acquired,omitempty"`
	Lost        *Lost        `json:"lost,omitempty"`
	Owner       *Owner       `json:"owner,omitempty"`
	ConfigEpoch *ConfigEpoch `json:"config_epoch,omitempty"`
	Unfit       *Unfit       `json:"unfit,omitempty"`
	Alarm       *Alarm       `json:"alarm,omitempty"`
}

func eventMessage(e Event) message {
	switch e := e.(type) {
	case Acquired:
		return message{Acquired: &e}
	case Lost:
		return message{Lost: &e}
	case Owner:
		return message{Owner: &e}
	case ConfigEpoch:
		return message{ConfigEpoch: &e}
	case Unfit:
		return message{Unfit: &e}
	case Alarm:
		return message{Alarm: &e}
	}
	return message{}
}

func (m *message) event() Event {
	switch {
	case m.Acquired != nil:
		return *m.Acquired
	case m.Lost != nil:
		return *m.Lost
	case m.Owner != nil:
		return *m.Owner
	case m.ConfigEpoch != nil:
		return *m.ConfigEpoch
	case m.Unfit != nil:
		return *m.Unfit
	case m.Alarm != nil:
		return *m.Alarm
	}
	return nil
}

var errLineTooLong = errors.New("message is too long")

// lineReader reads one message after the other and bounds their size.
type lineReader struct{ s *bufio.Scanner }

func newLineReader(r io.Reader) lineReader {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 4096), ipcMaxLine)
	return lineReader{s}
}

func (r lineReader) read(v any) error {
	if !r.s.Scan() {
		switch err := r.s.Err(); {
		case errors.Is(err, bufio.ErrTooLong):
			return errLineTooLong
		case err != nil:
			return err
		}
		return io.EOF
	}
	if err := json.Unmarshal(r.s.Bytes(), v); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	return nil
}

func encodeLine(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write message: %w", err)
	}
	return append(b, '\n'), nil
}
