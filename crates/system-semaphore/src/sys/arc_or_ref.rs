//! An `Arc`, or a reference, in one word.

use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

/// An `Arc<T>` or a `&'a T`. The lowest bit of the address is set for an `Arc`.
///
/// The alignment of `T` must be 2 or more, so that the bit is 0 in each address of a `T` (`HAS_ROOM` checks that).
pub(crate) struct ArcOrRef<'a, T> {
    tagged: NonNull<T>,
    _both: PhantomData<(&'a T, Arc<T>)>,
}

const OWNED: usize = 1;

// SAFETY: `&T` is `Send` if `T: Sync`, and `Arc<T>` is `Send` if `T: Send + Sync`
unsafe impl<T: Send + Sync> Send for ArcOrRef<'_, T> {}
// SAFETY: `&T` is `Sync` if `T: Sync`, and `Arc<T>` is `Sync` if `T: Send + Sync`
unsafe impl<T: Send + Sync> Sync for ArcOrRef<'_, T> {}

impl<'a, T> ArcOrRef<'a, T> {
    const HAS_ROOM: () = assert!(align_of::<T>() > OWNED);

    #[inline(always)]
    pub(crate) fn from_ref(value: &'a T) -> Self {
        const { Self::HAS_ROOM };
        Self { tagged: NonNull::from(value), _both: PhantomData }
    }

    pub(crate) fn from_arc(value: Arc<T>) -> Self {
        const { Self::HAS_ROOM };
        // SAFETY: an `Arc` is never null
        let address = unsafe { NonNull::new_unchecked(Arc::into_raw(value).cast_mut()) };
        Self { tagged: address.map_addr(|address| address | OWNED), _both: PhantomData }
    }

    #[inline(always)]
    fn is_owned(&self) -> bool {
        self.tagged.addr().get() & OWNED != 0
    }

    #[inline(always)]
    fn address(&self) -> *const T {
        self.tagged.as_ptr().map_addr(|address| address & !OWNED)
    }

    /// Returns the `Arc`, if `self` is one. Only the drop of `self` may drop it.
    #[inline(always)]
    fn arc(&self) -> Option<ManuallyDrop<Arc<T>>> {
        // SAFETY: an owned address is from `Arc::into_raw`, and its reference count includes `self` until `self` is
        // dropped; `ManuallyDrop` keeps this second `Arc` from decreasing it
        self.is_owned().then(|| ManuallyDrop::new(unsafe { Arc::from_raw(self.address()) }))
    }
}

impl<T> Deref for ArcOrRef<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: the address is of a reference that outlives `self`, or of an `Arc` that `self` owns
        unsafe { &*self.address() }
    }
}

impl<T> Clone for ArcOrRef<'_, T> {
    fn clone(&self) -> Self {
        match self.arc() {
            Some(arc) => Self::from_arc(Arc::clone(&arc)),
            None => Self { tagged: self.tagged, _both: PhantomData },
        }
    }
}

impl<T> Drop for ArcOrRef<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(arc) = self.arc() {
            drop(ManuallyDrop::into_inner(arc));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ArcOrRef;
    use std::sync::Arc;

    #[test]
    fn it_keeps_what_it_owns_and_borrows_the_rest() {
        let arc = Arc::new(7_u32);
        let borrowed = ArcOrRef::from_ref(&*arc);
        let owned = ArcOrRef::from_arc(Arc::clone(&arc));
        assert_eq!((*borrowed, *owned, Arc::strong_count(&arc)), (7, 7, 2));
        let (also_borrowed, also_owned) = (borrowed.clone(), owned.clone());
        assert_eq!((*also_borrowed, *also_owned, Arc::strong_count(&arc)), (7, 7, 3));
        drop((borrowed, also_borrowed, owned));
        assert_eq!((*also_owned, Arc::strong_count(&arc)), (7, 2));
        drop(also_owned);
        assert_eq!(Arc::strong_count(&arc), 1);
    }
}
