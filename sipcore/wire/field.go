package wire

// Field is a header line to be written. The name is ID's, or Name when ID is HdrOther.
type Field struct {
	ID    HeaderID
	Name  string
	Value []byte
}
