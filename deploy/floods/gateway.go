package main

import (
	"bytes"
	"fmt"
	"net"
)

// gateway answers each call at once, until its socket is closed.
func gateway(conn *net.UDPConn) {
	b := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		m := b[:n]
		method, _, _ := bytes.Cut(m, []byte(" "))
		if string(method) == "ACK" || bytes.HasPrefix(m, []byte("SIP/2.0")) {
			continue
		}
		_, _ = conn.WriteToUDPAddrPort(answer(m, conn.LocalAddr().String()), from) // the request comes again if this is lost
	}
}

// answer makes a 200 to a request.
func answer(m []byte, contact string) []byte {
	out := append(make([]byte, 0, len(m)+128), "SIP/2.0 200 OK\r\n"...)
	head, _, _ := bytes.Cut(m, []byte("\r\n\r\n"))
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "Via", "From", "Call-ID", "CSeq", "Record-Route":
			out = append(append(out, line...), "\r\n"...)
		case "To":
			out = append(out, line...)
			if !bytes.Contains(line, []byte(";tag=")) {
				out = append(out, ";tag=gw"...)
			}
			out = append(out, "\r\n"...)
		}
	}
	return fmt.Appendf(out, "Contact: <sip:gw@%s>\r\nContent-Length: 0\r\n\r\n", contact)
}
