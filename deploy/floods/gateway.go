package main

import (
	"bytes"
	"fmt"
	"net"
)

// ringUser begins the number of calls that are never answered.
const ringUser = "ring-"

// gateway answers each call at once but for those that only ring, until its socket is closed.
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
		status := "200 OK"
		if bytes.HasPrefix(m, []byte("INVITE sip:"+ringUser)) {
			status = "180 Ringing"
		}
		_, _ = conn.WriteToUDPAddrPort(answer(m, status, conn.LocalAddr().String()), from) // the request comes again if this is lost
	}
}

// answer makes a response to a request.
func answer(m []byte, status, contact string) []byte {
	out := fmt.Appendf(make([]byte, 0, 1024), "SIP/2.0 %s\r\n", status)
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
