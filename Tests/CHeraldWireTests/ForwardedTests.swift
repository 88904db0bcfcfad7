import CHeraldBase
import CHeraldWire
import Testing

/// Whose request it is by a header's list, for a peer, behind the proxies of 10.0.0.0/8 and 2001:db8:1::/48.
private func client(_ list: String, _ form: hr_forwarded_form, peer: String = "10.0.0.1") -> String {
    let ranges = ["10.0.0.0/8", "2001:db8:1::/48"].map { text in
        var range = hr_address_range()
        let status = unsafe Codec.withSlice(text) { unsafe hr_address_range_parse($0, &range) }
        precondition(status == .ok)
        return range
    }
    var peerAddress = hr_address()
    let status = unsafe Codec.withSlice(peer) { unsafe hr_address_parse($0, &peerAddress) }
    precondition(status == .ok)
    var found = unsafe Codec.withSlice(list) { slice in
        unsafe hr_forwarded_client(slice, form, ranges, ranges.count, &peerAddress)
    }
    var text = [CChar](repeating: 0, count: Int(HR_ADDRESS_TEXT_MAX))
    let length = unsafe hr_address_format(&found, &text)
    return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

struct ForwardedTests {
    @Test(arguments: [
        ("for=192.0.2.43", "192.0.2.43"), ("For=\"192.0.2.43:4711\"", "192.0.2.43"),
        ("for=\"[2001:db8::17]:4711\";proto=https;by=203.0.113.43", "2001:db8::17"),
        ("proto=http; for=192.0.2.43 ;host=\"a,b;c\"", "192.0.2.43"), ("for=\"192.0.2.43:_port\"", "192.0.2.43"),
        ("for=192.0.2.43, for=10.0.0.2, for=\"[2001:db8:1::5]\"", "192.0.2.43"),
        ("for=192.0.2.43,for=10.0.0.2,, ,", "192.0.2.43"), ("for=\"\\192.0.2.43\"", "192.0.2.43"),
        (";for=192.0.2.43;", "192.0.2.43"), ("by=\"x\\\"\";for=192.0.2.43", "192.0.2.43"),
        ("for=\"[::ffff:10.9.9.9]\", for=10.0.0.2", "10.9.9.9"),
    ])
    func `the first untrusted address from the right is the client's`(list: String, expected: String) {
        #expect(client(list, .HR_FORWARDED_RFC7239) == expected)
    }

    @Test(arguments: [
        "for=198.51.100.1", "for=unknown", "for=\"unclosed", "\"", "\\", "for=\"a\\", "for=10.0.0.9", ",,,",
        "for=\"a\\\"",
        "for=\"198.51.100.1, for=198.51.100.2", ";;;===", "for=x\\",
    ])
    func `what a client wrote to the left changes nothing`(written: String) {
        for appended in ["for=192.0.2.43", "for=192.0.2.43;proto=\"a,\\\"b\"", "for=\"192.0.2.43\", for=10.0.0.2"] {
            #expect(client("\(written), \(appended)", .HR_FORWARDED_RFC7239) == "192.0.2.43")
        }
        #expect(client("\(written), 192.0.2.43, 10.0.0.2", .HR_FORWARDED_X_FOR) == "192.0.2.43")
    }

    @Test(arguments: [
        "for=unknown", "for=_hidden", "for=\"_hidden:80\"", "for=", "for", "=", "for=192.0.2.43:80",
        "for=[2001:db8::17]",
        "for=\"192.0.2.43", "for=192.0.2.43\"", "for=192.0.2.43;for=192.0.2.43", "proto=https", "for =192.0.2.43",
        "for= 192.0.2.43", "for=192.0.2.43;x", "for=\"192.0.2.43\"x", "for=\"\"", "for=192.0.2.43;=a", "for=a b",
        "for=\"1111111111111111111111111111111111111111111111111111111111111111192.0.2.43\"",
    ])
    func `an element that is malformed ends the walk at the last good one`(element: String) {
        #expect(client(element, .HR_FORWARDED_RFC7239) == "10.0.0.1")
        #expect(client("for=192.0.2.43, \(element), for=10.0.0.2", .HR_FORWARDED_RFC7239) == "10.0.0.2")
    }

    @Test(arguments: [
        ("192.0.2.43", "192.0.2.43"), ("192.0.2.43:80", "192.0.2.43"), ("2001:db8::17", "2001:db8::17"),
        ("[2001:db8::17]:80", "2001:db8::17"), ("198.51.100.1,192.0.2.43\t, 10.0.0.2", "192.0.2.43"),
        ("192.0.2.43, unknown, 10.0.0.2", "10.0.0.2"), ("192.0.2.43, \"10.0.0.3\"", "10.0.0.1"), ("", "10.0.0.1"),
        ("192.0.2.43,,", "192.0.2.43"), ("10.0.0.3, 10.0.0.2", "10.0.0.3"), ("for=192.0.2.43", "10.0.0.1"),
    ])
    func `X-Forwarded-For is walked the same way`(list: String, expected: String) {
        #expect(client(list, .HR_FORWARDED_X_FOR) == expected)
    }

    @Test func `a peer that is no trusted proxy is the client itself`() {
        #expect(client("for=192.0.2.43", .HR_FORWARDED_RFC7239, peer: "198.51.100.9") == "198.51.100.9")
        #expect(client("192.0.2.43", .HR_FORWARDED_X_FOR, peer: "2001:db8:2::1") == "2001:db8:2::1")
    }

    @Test func `without a form no header is believed`() {
        #expect(client("192.0.2.43", .HR_FORWARDED_NONE) == "10.0.0.1")
    }
}
