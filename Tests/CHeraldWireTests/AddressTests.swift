import CHeraldBase
import CHeraldWire
import Testing

/// The address in a text; nil when it is refused.
private func parsed(_ text: String, asNode: Bool = false) -> hr_address? {
    var address = hr_address()
    let status = unsafe Codec.withSlice(text) { slice in
        unsafe asNode ? hr_address_parse_node(slice, &address) : hr_address_parse(slice, &address)
    }
    return status == .ok ? address : nil
}

/// An address as the codec writes it.
private func written(_ address: hr_address) -> String {
    var address = address
    var text = [CChar](repeating: 0, count: Int(HR_ADDRESS_TEXT_MAX))
    let length = unsafe hr_address_format(&address, &text)
    return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

private func parsedRange(_ text: String) -> hr_address_range? {
    var range = hr_address_range()
    let status = unsafe Codec.withSlice(text) { unsafe hr_address_range_parse($0, &range) }
    return status == .ok ? range : nil
}

struct AddressTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("::", "::"),
        ("::1", "::1"), ("2001:DB8::0001", "2001:db8::1"), ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("1:0:0:4:5:0:0:0", "1:0:0:4:5::"), ("1:0:0:4:5:6:0:0", "1::4:5:6:0:0"), ("1:0:3:4:5:6:7:8", "1:0:3:4:5:6:7:8"),
        ("::ffff:192.0.2.1", "192.0.2.1"), ("::FFFF:c000:0201", "192.0.2.1"),
        ("64:ff9b::192.0.2.1", "64:ff9b::c000:201"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"), ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("::1.2.3.4", "::102:304"),
        ("fe80::abcd:0:0:12", "fe80::abcd:0:0:12"),
    ])
    func `an address is read and written in its one form`(text: String, canonical: String) throws {
        let address = try #require(parsed(text))
        #expect(written(address) == canonical)
        let again = try #require(parsed(canonical))
        #expect(written(again) == canonical)
    }

    @Test(arguments: [
        "", " ", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.04", "01.2.3.4", "1.2.3.-4", "1.2.3.4 ", " 1.2.3.4",
        "1.2.3.", ".1.2.3", "1..2.3", "0x1.2.3.4", "1.2.3.4\0", ":", ":::", "1::2::3", "1:2:3:4:5:6:7", "12345::",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::g", ":1", "1:", "::1:", "1.2.3.4::", "::1.2.3", "::1.2.3.4:5",
        "1:2:3:4:5:6:7:1.2.3.4", "[::1]", "1.2.3.4:80", "fe80::1%eth0", "localhost", "unknown",
    ])
    func `what is no address is refused`(text: String) {
        #expect(parsed(text) == nil)
    }

    @Test(arguments: [
        ("192.0.2.1:80", "192.0.2.1"), ("192.0.2.1", "192.0.2.1"), ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"), ("2001:db8::1", "2001:db8::1"), ("192.0.2.1:_x.y-Z_9", "192.0.2.1"),
        ("[::ffff:192.0.2.1]:0", "192.0.2.1"), ("[::1]:65535", "::1"),
    ])
    func `a node may have brackets and a port`(text: String, canonical: String) throws {
        #expect(written(try #require(parsed(text, asNode: true))) == canonical)
    }

    @Test(arguments: [
        "[192.0.2.1]", "[::1", "::1]", "[::1]x", "[::1]:", "[::1]:65536", "[::1]:1x", "192.0.2.1:", "192.0.2.1:65536",
        "192.0.2.1:80:80", "192.0.2.1:_", "192.0.2.1:_a b", "_hidden", "unknown", "[]", "[", "", "a:80",
    ])
    func `a node that is none is refused`(text: String) {
        #expect(parsed(text, asNode: true) == nil)
    }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("::ffff:192.0.2.1", "192.0.2.1"),
    ])
    func `IPv4 counts whole and IPv6 by its network`(text: String, counted: String) throws {
        var address = try #require(parsed(text))
        #expect(written(unsafe hr_address_counted(&address)) == counted)
    }

    @Test func `no address is the one without a bit`() throws {
        var none = hr_address()
        #expect(unsafe hr_address_is_none(&none))
        var some = try #require(parsed("0.0.0.0"))
        #expect(unsafe !hr_address_is_none(&some) && hr_address_is_v4(&some))
    }
}

struct AddressRangeTests {
    @Test(arguments: [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"), ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.2"), ("192.0.2.1/32", "192.0.2.1", "192.0.2.0"),
        ("0.0.0.0/0", "255.1.2.3", "2001:db8::1"), ("::/0", "2001:db8::1", "192.0.2.1"),
        ("2001:db8::/33", "2001:db8:7fff::1", "2001:db8:8000::"), ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
        ("::ffff:10.0.0.0/104", "10.1.2.3", "::10.1.2.3"), ("fc00::/7", "fdff::1", "fe00::"),
    ])
    func `a range has its own and nothing else`(text: String, inside: String, outside: String) throws {
        var range = try #require(parsedRange(text))
        var inside = try #require(parsed(inside))
        var outside = try #require(parsed(outside))
        #expect(unsafe hr_address_range_has(&range, &inside))
        #expect(unsafe !hr_address_range_has(&range, &outside))
        #expect(unsafe hr_address_ranges_have(&range, 1, &inside))
        #expect(unsafe !hr_address_ranges_have(nil, 0, &inside))
    }

    @Test(arguments: [
        "", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.1/8", "10.0.0.0/8/8", "::/129",
        "::1/127", "2001:db8::1/64", "10.0.0.0/8 ", "[::1]/128", "all", "10.0.0.0:80/8",
    ])
    func `a range that is none is refused`(text: String) {
        #expect(parsedRange(text) == nil)
    }
}
