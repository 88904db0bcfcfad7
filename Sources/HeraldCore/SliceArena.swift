internal import CHeraldBase

/// Texts one behind the other in one piece of memory, lent to C as slices.
struct SliceArena {
    private var bytes: [CChar] = []
    private var ends: [Int] = []

    /// Adds a text.
    mutating func append(_ text: String) {
        for byte in text.utf8 { bytes.append(CChar(bitPattern: byte)) }
        ends.append(bytes.count)
    }

    /// Calls `body` with all texts in the order in which they were added; the slices are good until it returns.
    func withSlices<Result>(_ body: (UnsafeBufferPointer<hr_slice>) -> Result) -> Result {
        unsafe bytes.withUnsafeBufferPointer { bytes in
            unsafe withUnsafeTemporaryAllocation(of: hr_slice.self, capacity: ends.count) { slices in
                var start = 0
                for (index, end) in ends.enumerated() {
                    let data = unsafe bytes.baseAddress.map { unsafe $0 + start }
                    unsafe slices.initializeElement(at: index, to: hr_slice(data: data, len: end - start))
                    start = end
                }
                return unsafe body(UnsafeBufferPointer(slices))
            }
        }
    }
}

extension String {
    /// Calls `body` with the text's bytes as a slice, which is good until it returns.
    func withSlice<Result>(_ body: (hr_slice) -> Result) -> Result {
        var copy = self
        return copy.withUTF8 { utf8 in
            let data = unsafe UnsafeRawPointer(utf8.baseAddress)?.assumingMemoryBound(to: CChar.self)
            return unsafe body(hr_slice(data: data, len: utf8.count))
        }
    }
}
