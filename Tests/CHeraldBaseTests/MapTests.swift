import CHeraldBase
import Testing

/// The map beside a dictionary that must always agree with it. Values are addresses of memory that holds the keys,
/// which the map only borrows.
@safe private final class CheckedMap {
    private var map = unsafe hr_map()
    private var expected: [String: UInt] = [:]

    var capacity: Int { unsafe map.cap }

    func insert(_ key: String) -> Bool {
        let bytes = Array(key.utf8)
        let value = UnsafeMutableRawPointer.allocate(byteCount: bytes.count + 1, alignment: 1)
        unsafe value.copyMemory(from: bytes, byteCount: bytes.count)
        let slice = unsafe hr_slice(data: value.assumingMemoryBound(to: CChar.self), len: bytes.count)
        expected[key] = UInt(bitPattern: value)
        return unsafe hr_map_insert(&map, slice, value) == .ok
    }

    /// Whether key is there, as both say.
    func contains(_ key: String) -> Bool {
        let found = unsafe withSlice(Array(key.utf8)) { unsafe UInt(bitPattern: hr_map_get(&map, $0)) }
        #expect(found == expected[key] ?? 0)
        return found != 0
    }

    /// Takes key out of both; whether it was there.
    func remove(_ key: String) -> Bool {
        let removed = unsafe withSlice(Array(key.utf8)) { unsafe UInt(bitPattern: hr_map_remove(&map, $0)) }
        #expect(removed == expected.removeValue(forKey: key) ?? 0)
        unsafe UnsafeMutableRawPointer(bitPattern: removed)?.deallocate()
        return removed != 0
    }

    func check() {
        #expect(unsafe map.count == expected.count)
        #expect(capacity & (capacity &- 1) == 0)
        #expect(capacity == 0 || expected.count < capacity)
        for key in expected.keys {
            #expect(contains(key))
        }
        var place = 0
        var entry = unsafe hr_map_entry()
        var walked: [String: UInt] = [:]
        while unsafe hr_map_next(&map, &place, &entry) {
            let bytes = unsafe UnsafeRawBufferPointer(start: entry.key.data, count: entry.key.len)
            let key = unsafe String(decoding: bytes, as: UTF8.self)
            walked[key] = unsafe UInt(bitPattern: entry.value)
        }
        #expect(walked == expected)
    }

    deinit {
        unsafe hr_map_fini(&map)
        for value in expected.values {
            unsafe UnsafeMutableRawPointer(bitPattern: value)?.deallocate()
        }
    }
}

/// The hash of bytes.
private func hash(_ bytes: [UInt8]) -> UInt64 { unsafe withSlice(bytes) { unsafe hr_hash($0) } }

struct MapTests {
    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8])
    func `a map agrees with a dictionary under random churn`(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let map = CheckedMap()
        // Few keys repeat much; many make the table grow and shrink.
        let keys = [3, 8, 40, 3000][Int(seed % 4)]
        for step in 0..<6000 {
            let key = "topic/\(Int.random(in: 0..<keys, using: &random))"
            let growing = (step / 1500) % 2 == 0
            if map.contains(key) {
                if Int.random(in: 0..<4, using: &random) < (growing ? 1 : 4) {
                    #expect(map.remove(key))
                }
            } else {
                #expect(!map.remove(key))
                if Int.random(in: 0..<4, using: &random) < (growing ? 4 : 1) {
                    #expect(map.insert(key))
                }
            }
            if step % 500 == 0 {
                map.check()
            }
        }
        map.check()
    }

    @Test func `an emptied map gives its memory back`() {
        let map = CheckedMap()
        for key in 0..<5000 {
            #expect(map.insert("\(key)"))
        }
        map.check()
        #expect(map.capacity >= 5000)
        for key in 0..<5000 {
            #expect(map.remove("\(key)"))
        }
        map.check()
        #expect(map.capacity <= 64)
    }

    @Test func `an empty map finds, removes and walks nothing`() {
        let map = CheckedMap()
        map.check()
        #expect(!map.remove("a"))
        #expect(!map.contains(""))
    }

    @Test func `the empty key and keys with NUL bytes are keys like others`() {
        let map = CheckedMap()
        for key in ["", "\0", "a\0", "a", "\0a"] {
            #expect(map.insert(key))
        }
        map.check()
        #expect(map.remove("\0"))
        map.check()
    }

    @Test func `a hash depends on every byte and on the length`() {
        var seen: Set<UInt64> = []
        for length in 0..<40 {
            var bytes = [UInt8](repeating: 0, count: length)
            #expect(seen.insert(hash(bytes)).inserted)
            for place in 0..<length {
                bytes[place] = 1
                #expect(seen.insert(hash(bytes)).inserted)
                bytes[place] = 0
            }
            #expect(hash(bytes) == hash(bytes))
        }
    }
}
