package faults

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

//go:embed testdata/*.txt
var files embed.FS

// Side is a phone's part in a call.
type Side string

// Parts.
const (
	Caller Side = "caller"
	Callee Side = "callee"
	Spare  Side = "spare" // the gateway that is tried after the callee, or the phone to which that diverts the call
)

// Where a transcript's calls go.
const (
	ToUser      = "user"
	ToGateway   = "gateway"
	ToPair      = "pair"
	ToRegistrar = "registrar"
	ToDiverted  = "diverted"
)

// Message names one by what a transcript can see of it.
type Message struct {
	What        string // method, or status and method: "200 to BYE"
	Credentials bool   // a request that answers a challenge
}

// Step is one line of a transcript.
type Step struct {
	Line    string
	Side    Side
	Send    bool
	Message Message
	Fault   bool // arms the fault for the message; nothing is sent or awaited
	Move    bool // a planned move of the VIP
}

// Script is one transcript.
type Script struct {
	Name   string // file without extension
	About  string // its first comment
	To     string
	Faults []string
	Steps  []Step
}

// macros are the usual beginnings.
var macros = map[string][]string{
	"call rings": {
		"caller sends INVITE", "callee receives INVITE", "callee sends 180", "caller receives 180",
	},
	"call stands": {
		"caller sends INVITE", "callee receives INVITE", "callee sends 180", "caller receives 180",
		"callee sends 200", "caller receives 200", "caller sends ACK", "callee receives ACK",
	},
}

// Scripts reads every transcript, in the order of their names.
func Scripts() ([]Script, error) {
	names, err := fs.Glob(files, "testdata/*.txt")
	if err != nil {
		return nil, fmt.Errorf("list transcripts: %w", err)
	}
	var out []Script
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("read transcript %s: %w", name, err)
		}
		s, err := Parse(strings.TrimSuffix(path.Base(name), ".txt"), string(text))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Parse reads one transcript.
func Parse(name, text string) (Script, error) {
	s := Script{Name: name, To: ToUser}
	armed := 0
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		bad := func(format string, args ...any) error {
			return fmt.Errorf("transcript %s, line %d: %s: %q", name, n+1, fmt.Sprintf(format, args...), line)
		}
		key, value, header := strings.Cut(line, ":")
		switch {
		case line == "":
		case strings.HasPrefix(line, "#"):
			if len(s.Steps) == 0 {
				s.About = strings.TrimSpace(s.About + " " + strings.TrimSpace(line[1:]))
			}
		case header && key == "to":
			if s.To = strings.TrimSpace(value); !slices.Contains([]string{ToUser, ToGateway, ToPair, ToRegistrar, ToDiverted}, s.To) {
				return s, bad("to: user, gateway, pair, diverted or registrar")
			}
		case header && key == "faults":
			s.Faults = strings.Fields(value)
		case header:
			return s, bad("not known")
		case macros[line] != nil:
			for _, l := range macros[line] {
				step, err := parseStep(l)
				if err != nil {
					return s, bad("%v", err)
				}
				s.Steps = append(s.Steps, step)
			}
		default:
			step, err := parseStep(line)
			if err != nil {
				return s, bad("%v", err)
			}
			if step.Fault {
				armed++
			}
			s.Steps = append(s.Steps, step)
		}
	}
	if armed != 1 || len(s.Faults) == 0 {
		return s, fmt.Errorf("transcript %s: one `fault when` line and a `faults:` line are needed", name)
	}
	return s, nil
}

func parseStep(line string) (Step, error) {
	s := Step{Line: line}
	if line == "operator moves the VIP" {
		s.Move = true
		return s, nil
	}
	rest := line
	rest, s.Fault = strings.CutPrefix(rest, "fault when ")
	rest, s.Message.Credentials = strings.CutSuffix(rest, " with credentials")
	words := strings.SplitN(rest, " ", 3)
	if len(words) != 3 {
		return s, fmt.Errorf("a step is PHONE sends|receives MESSAGE")
	}
	s.Side, s.Message.What = Side(words[0]), words[2]
	if !slices.Contains([]Side{Caller, Callee, Spare}, s.Side) {
		return s, fmt.Errorf("the phones are caller, callee and spare")
	}
	switch words[1] {
	case "sends":
		s.Send = true
	case "receives":
	default:
		return s, fmt.Errorf("a phone sends or receives")
	}
	return s, nil
}

// status is the leading status code of a message, 0 for a request.
func (m Message) status() int {
	n := 0
	for _, d := range m.What {
		if d < '0' || d > '9' {
			break
		}
		n = n*10 + int(d-'0')
	}
	return n
}

// method is that of a request, or of the request that a response is to; INVITE where it isn't said.
func (m Message) method() string {
	if m.status() == 0 {
		return m.What
	}
	if _, method, ok := strings.Cut(m.What, " to "); ok {
		return method
	}
	return "INVITE"
}

// matches tells whether what a tap saw is this message.
func (m Message) matches(seen Message) bool {
	return m.status() == seen.status() && m.method() == seen.method() && (!m.Credentials || seen.Credentials)
}

// Provisional tells whether the message is a 1xx, which nobody repeats.
func (m Message) Provisional() bool { n := m.status(); return n >= 100 && n < 200 }
