wload load --chunk $'a\nb' llama
