package wire

// Method is a request method. Methods are compared with regard to case (RFC 3261 §7.1).
type Method uint8

// Methods known by number; any other is MethodOther and is relayed by its name.
const (
	MethodNone  Method = iota // no method: nothing scanned
	MethodOther               // an extension method; its name is in the message
	Invite
	Ack
	Bye
	Cancel
	Register
	Options
	Prack
	Update
	Info
	Refer
	Subscribe
	Notify
	Message
	Publish
)

// String is the method's name on the wire; "" for MethodNone and MethodOther.
func (m Method) String() string {
	switch m {
	case Invite:
		return "INVITE"
	case Ack:
		return "ACK"
	case Bye:
		return "BYE"
	case Cancel:
		return "CANCEL"
	case Register:
		return "REGISTER"
	case Options:
		return "OPTIONS"
	case Prack:
		return "PRACK"
	case Update:
		return "UPDATE"
	case Info:
		return "INFO"
	case Refer:
		return "REFER"
	case Subscribe:
		return "SUBSCRIBE"
	case Notify:
		return "NOTIFY"
	case Message:
		return "MESSAGE"
	case Publish:
		return "PUBLISH"
	}
	return ""
}

// ParseMethod returns the number of the method called name, MethodOther for an extension method.
func ParseMethod(name []byte) Method {
	switch string(name) {
	case "INVITE":
		return Invite
	case "ACK":
		return Ack
	case "BYE":
		return Bye
	case "CANCEL":
		return Cancel
	case "REGISTER":
		return Register
	case "OPTIONS":
		return Options
	case "PRACK":
		return Prack
	case "UPDATE":
		return Update
	case "INFO":
		return Info
	case "REFER":
		return Refer
	case "SUBSCRIBE":
		return Subscribe
	case "NOTIFY":
		return Notify
	case "MESSAGE":
		return Message
	case "PUBLISH":
		return Publish
	case "":
		return MethodNone
	}
	return MethodOther
}
