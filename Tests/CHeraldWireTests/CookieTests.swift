import CHeraldBase
import CHeraldWire
import Testing

/// The value of a cookie in a header; nil when there is none.
private func cookie(_ name: String, _ header: String) -> String? {
    unsafe Codec.withSlice(header) { header in
        unsafe Codec.withSlice(name) { name in
            var value = unsafe hr_slice()
            return unsafe hr_cookie_find(header, name, &value) ? unsafe Codec.text(value) : nil
        }
    }
}

struct CookieTests {
    @Test(arguments: [
        ("a=1", "1"), ("b=2; a=1", "1"), ("a=1; a=2", "1"), ("aa=2; a=1", "1"), ("a=\"1\"", "1"), ("a=\"\"", ""),
        ("a=", ""), (" a = 1 ", "1"), ("b;a=1", "1"), ("=x;a=1", "1"), ("a=1=2", "1=2"), ("a=\"", "\""),
        ("a=\"1", "\"1"), ("b=2;a=1;c=3", "1"), ("a=\"1;2\"", "\"1"), (";;;a=1", "1"), ("\ta=1\t;", "1"),
    ])
    func `the first cookie of the name is found`(header: String, value: String) {
        #expect(cookie("a", header) == value)
    }

    @Test(arguments: ["", "a", "A=1", "b=a=1", "aa=1", "b=\"x, a=1\"", ";", "=", "=a", "a;b=1", "\"a\"=1"])
    func `another cookie is not`(header: String) {
        #expect(cookie("a", header) == nil)
    }
}
