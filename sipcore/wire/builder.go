package wire

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// AppendField appends one header line with its line ending. ErrUnsafe when name or value would break the message.
func AppendField(dst []byte, f Field) ([]byte, error) {
	name := f.Name
	if f.ID != HdrOther {
		name = f.ID.String()
	}
	if !tokenString(name) || !safe(f.Value) {
		return dst, fmt.Errorf("write header %q: %w", strings.Clone(name), ErrUnsafe) // not name: f would escape
	}
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, f.Value...)
	return append(dst, '\r', '\n'), nil
}

// appendLine appends a header line; line folds in value become spaces, so it cannot end the line.
func appendLine(dst []byte, name string, value []byte) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = appendUnfolded(dst, value)
	return append(dst, '\r', '\n')
}

// appendUnfolded appends value with each line fold written as one space.
func appendUnfolded(dst, value []byte) []byte {
	if bytes.IndexByte(value, '\n') < 0 && bytes.IndexByte(value, '\r') < 0 {
		return append(dst, value...)
	}
	for i := 0; i < len(value); {
		j := i
		for j < len(value) && value[j] != '\r' && value[j] != '\n' {
			j++
		}
		dst = append(dst, value[i:j]...)
		i = j
		for i < len(value) && isSpace(value[i]) {
			i++
		}
		if i > j && i < len(value) {
			dst = append(dst, ' ')
		}
	}
	return dst
}

func tokenString(s string) bool {
	for i := range len(s) {
		if !isToken(s[i]) {
			return false
		}
	}
	return s != ""
}

func safeString(s string) bool {
	for i := range len(s) {
		if class[s[i]]&classUnsafe != 0 {
			return false
		}
	}
	return true
}

// appendCopies appends all header lines of m with the ID.
func appendCopies(dst []byte, m *Msg, id HeaderID) []byte {
	for i := m.First(id); i >= 0; i = m.Next(i) {
		dst = appendLine(dst, id.String(), m.Bytes(m.Header(i).Value))
	}
	return dst
}

// appendEnd appends further fields, Content-Type, Content-Length, the empty line and the body, and looks at the length.
func appendEnd(dst []byte, start int, fields []Field, contentType string, body []byte) ([]byte, error) {
	var err error
	for i := range fields {
		if dst, err = AppendField(dst, fields[i]); err != nil {
			return dst[:start], err
		}
	}
	if len(body) > 0 && contentType != "" {
		if !safeString(contentType) {
			return dst[:start], fmt.Errorf("write Content-Type: %w", ErrUnsafe)
		}
		dst = append(append(append(dst, "Content-Type: "...), contentType...), "\r\n"...)
	}
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendUint(dst, uint64(len(body)), 10)
	dst = append(dst, "\r\n\r\n"...)
	dst = append(dst, body...)
	if len(dst)-start > MaxMessage {
		return dst[:start], ErrTooLong
	}
	return dst, nil
}
