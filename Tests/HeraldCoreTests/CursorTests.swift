import HeraldCore
import Testing

@Suite struct CursorTests {
    @Test(arguments: [
        Cursor(epoch: 0x5F3A_9C1E, sequence: 42), Cursor(epoch: 0, sequence: 0),
        Cursor(epoch: .max, sequence: .max),
    ])
    func `a cursor is read back as it was written`(cursor: Cursor) {
        #expect(Cursor(cursor.description) == cursor)
    }

    @Test func `a cursor is written as epoch and sequence`() {
        #expect(Cursor(epoch: 0x0000_9C1E, sequence: 42).description == "00009c1e-42")
    }

    @Test(arguments: [
        "", "x", "1", "5f3a9c1e", "5f3a9c1e-", "5F3A9C1E-1", "5f3a9c1e-01", "5f3a9c1e-1x", "5f3a9c1-1",
        "5f3a9c1e-18446744073709551616", "5f3a9c1e-1 ", "latest",
    ])
    func `anything but an event id is no cursor`(text: String) {
        #expect(Cursor(text) == nil)
    }

    @Test func `a position is a word or a cursor`() {
        #expect(Position("earliest") == .earliest)
        #expect(Position("latest") == .latest)
        #expect(Position("5f3a9c1e-42") == .after(Cursor(epoch: 0x5F3A_9C1E, sequence: 42)))
        #expect(Position("Earliest") == nil)
        #expect(Position("") == nil)
    }

    @Test func `times are written in UTC with milliseconds`() {
        #expect(EventTime.text(milliseconds: 0) == "1970-01-01T00:00:00.000Z")
        #expect(EventTime.text(milliseconds: 1_767_323_045_678) == "2026-01-02T03:04:05.678Z")
    }
}
